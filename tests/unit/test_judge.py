"""Runs written to disk by hand, and what the judge makes of them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from lossmeter.errors import UsageError
from lossmeter.judge.verdict import judge_facts, judge_run
from lossmeter.model import Predicted, Status, Verdict
from lossmeter.plan.budget import Budget
from lossmeter.record.facts import Facts
from lossmeter.record.marks import save_marks
from lossmeter.record.result import Result
from lossmeter.report.github import step_summary
from lossmeter.report.table import result_table
from lossmeter_dispatcher.events import Event
from lossmeter_dispatcher.stages import FileMarks, Stage
from tests.support.judged_runs import (
    EVENTS,
    INJECTED,
    SECOND,
    Run,
    a_fault,
    some_evidence,
)
from tests.support.resealed import resealed


def test_a_proven_lossless_run_passes(a_run: Run) -> None:
    result = a_run.judged()
    assert result.verdict is Verdict.PASS, result.reason
    assert result.counts.delivered == EVENTS
    assert result.recovery_s == 0, "it went on as before"
    assert all("planted" in line for line in result.self_proof)


def test_a_lossy_run_fails(a_run: Run) -> None:
    a_run.rows = list(range(EVENTS - 1))
    result = a_run.judged()
    assert result.verdict is Verdict.FAIL
    assert result.counts.lost == 1
    assert result.lost_where.suffix == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"faults": [a_fault(evidence=[some_evidence("waitpid")])]}, "1 independent source,"),
        (
            {"faults": [a_fault(evidence=[some_evidence("waitpid"), some_evidence("waitpid")])]},
            "1 independent source,",
        ),
        ({"faults": [a_fault(evidence=[])]}, "0 independent sources"),
        (
            {
                "faults": [
                    a_fault(
                        evidence=[
                            some_evidence("waitpid"),
                            some_evidence("health-probe"),
                            some_evidence("process-table", holds=False),
                        ]
                    )
                ]
            },
            "evidence against fault sigkill",
        ),
        (
            {"faults": [a_fault(injected_ns=None, problem="never full")]},
            "never injected: never full",
        ),
        ({"faults": [a_fault(healed_ns=None)]}, "was never healed"),
        (
            {"faults": [a_fault(injected_ns=SECOND + 1, healed_ns=SECOND + 2)]},
            "no load while fault sigkill held",
        ),
        ({"settled": False, "settled_how": "rows still arrive"}, "rows still arrive"),
        ({"load_exit_code": 70}, "exit code 70"),
        ({"events_planned": EVENTS + 1}, "40 of 41 planned events"),
        ({"budget": None}, "no budget"),
        ({"clock_jump_s": 0.051}, "the clock of this machine jumped by 0.051 s"),
        ({"probe_gap_s": 0.51}, "kept from looking for 0.51 s"),
        ({"doubts": ["somebody else gave Toxiproxy commands"]}, "somebody else gave Toxiproxy"),
        ({"budget": Budget(max_lost=0, recovery_s_max=9), "faults": []}, "recovery was never seen"),
    ],
)
def test_doubt_makes_a_run_inconclusive(a_run: Run, changes: dict[str, object], said: str) -> None:
    a_run.facts = changes
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert said in result.reason


def test_doubt_outweighs_a_loss(a_run: Run) -> None:
    a_run.facts, a_run.rows = {"settled": False}, []
    assert a_run.judged().verdict is Verdict.INCONCLUSIVE


def test_an_unfinished_journal_is_inconclusive(a_run: Run) -> None:
    a_run.end = False
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "ended early" in result.reason


def test_a_jump_of_the_clock_under_the_load_is_inconclusive(a_run: Run) -> None:
    a_run.clock_jump_ns = 51_000_000
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "the clock of this machine jumped by 0.051 s" in result.reason


def test_a_load_that_lags_is_inconclusive(a_run: Run) -> None:
    a_run.lag_ns = 501_000_000
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "lagged behind its schedule by 501 ms (p99), more than 500 ms" in result.reason


# As of a column of fractions, of which none is a whole number; or of one NULL.
@pytest.mark.parametrize("unplaced", [range(40), (7,)])
def test_positions_that_are_no_numbers_tell_no_order(a_run: Run, unplaced: Sequence[int]) -> None:
    a_run.facts["budget"] = Budget(max_lost=0, max_reordered=0)
    a_run.positions = dict.fromkeys(unplaced, -1)
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reason == "max_reordered is set, and reordered was never measured"


def test_bounds_that_are_kept_are_no_doubt(a_run: Run) -> None:
    a_run.facts = {"clock_jump_s": 0.05, "probe_gap_s": 0.5}
    a_run.lag_ns, a_run.clock_jump_ns = 499_000_000, 50_000_000
    assert a_run.judged().verdict is Verdict.PASS


def _mark(folder: Path, sequences: list[int], stage: Stage) -> None:
    marks = FileMarks(folder / "target", "b" * 32, survives=False, capacity=1000)
    for sequence in sequences:
        marks.mark(Event(producer=0, sequence=sequence), stage)
    save_marks(folder)


def test_each_loss_has_its_stage_and_its_time(a_run: Run) -> None:
    a_run.rows, a_run.facts = list(range(4, 37)), {"stages_marked": True}
    _mark(a_run.folder, [0, 1, 2, 3, 37, 38, 39], Stage.QUEUED)
    result = a_run.judged()
    assert result.verdict is Verdict.FAIL
    assert result.stages == {"queued": 7}
    assert result.lost_when == {"acked before the fault": 4, "sent after the fault": 3}
    assert (result.lost_where.prefix, result.lost_where.suffix) == (4, 3)
    assert not (a_run.folder / "stages.npy").exists(), "judging writes nothing"


def test_a_loss_without_a_stage_is_an_error_of_the_instrument(a_run: Run) -> None:
    a_run.rows, a_run.facts = list(range(3, EVENTS)), {"stages_marked": True}
    _mark(a_run.folder, [0, 2], Stage.TAKEN)
    result = a_run.judged()
    assert result.verdict is Verdict.ERROR
    assert "the stages explain 2 of 3 lost events" in result.reason
    assert result.stages == {"in hand": 2}


def test_a_target_without_marks_has_no_stages_but_times(a_run: Run) -> None:
    a_run.rows = list(range(1, EVENTS))
    result = a_run.judged()
    assert result.verdict is Verdict.FAIL
    assert result.stages is None
    assert result.lost_when == {"acked before the fault": 1}


def test_the_cost_of_the_self_proof_is_recorded(a_run: Run) -> None:
    a_run.judged()
    spent: dict[str, float] = {}
    result = judge_run(a_run.folder, spent)
    assert set(spent) == {"judge", "self_proof"}
    assert result.timings_s == spent


def test_judging_only_reads(a_run: Run) -> None:
    a_run.rows, a_run.facts = list(range(4, 37)), {"stages_marked": True}
    _mark(a_run.folder, [0, 1, 2, 3, 37, 38, 39], Stage.QUEUED)
    a_run.save()
    before = {path: path.stat().st_mtime_ns for path in a_run.folder.rglob("*")}
    assert judge_run(a_run.folder).counts.lost == 7
    assert {path: path.stat().st_mtime_ns for path in a_run.folder.rglob("*")} == before


def test_evidence_names_its_fault_and_when_that_struck(a_run: Run) -> None:
    later = a_fault(fault="oom", struck_ns=INJECTED + SECOND)
    a_run.facts = {"faults": [a_fault(), later]}
    shown = [(e.fault, e.struck_ns, e.source) for e in a_run.judged().evidence]
    assert shown == [
        *(("sigkill", INJECTED, source) for source in ("waitpid", "health-probe")),
        *(("oom", INJECTED + SECOND, source) for source in ("waitpid", "health-probe")),
    ]


@pytest.mark.parametrize(
    ("where", "also"),
    [("dead", "dead-lettered 40 is above"), ("pending", "pending 40 is above")],
)
def test_a_run_that_delivers_nothing_is_no_pass(a_run: Run, where: str, also: str) -> None:
    a_run.rows = []
    setattr(a_run, where, [(0, n) for n in range(EVENTS)])
    result = a_run.judged()
    assert (result.verdict, result.counts.lost) == (Verdict.FAIL, 0)
    assert also in result.reason


@pytest.mark.parametrize("where", ["dead", "pending"])
@pytest.mark.parametrize(
    "ident", [(2**32, 5), (0, 5 + 2**40), (0, 5 + 2**32), (-1, 5), (-(2**63), 5), (2**63 - 1, 5)]
)
def test_a_letter_that_nobody_minted_covers_no_loss(
    a_run: Run, where: str, ident: tuple[int, int]
) -> None:
    a_run.rows = [n for n in range(EVENTS) if n != 5]
    setattr(a_run, where, [ident])
    result = a_run.judged()
    assert (result.verdict, result.counts.lost) == (Verdict.FAIL, 1)
    assert (result.counts.foreign, result.counts.dead_lettered, result.counts.pending) == (1, 0, 0)


def test_a_violation_is_a_fail_whatever_else_is_unknown(a_run: Run) -> None:
    a_run.status = Status.REFUSED
    a_run.facts = {"budget": Budget(max_lost=0, min_acked=30), "settled": False}
    result = a_run.judged()
    assert result.verdict is Verdict.FAIL
    assert result.breaches[0] == "40 refused events were persisted"
    assert any("min_acked is 30" in reason for reason in result.breaches)
    assert any("reads never settled" in reason for reason in result.breaches)


def test_what_looks_like_a_violation_may_be_a_gap_of_the_journals(a_run: Run) -> None:
    a_run.sent, a_run.end = 30, False
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "ended early" in result.breaches[0]
    assert "10 rows were persisted that nobody sent" in result.breaches


def test_nothing_acked_is_inconclusive(a_run: Run) -> None:
    a_run.status, a_run.rows = Status.REFUSED, []
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "nothing was acked, so nothing could be lost (40 × HTTP 202)" in result.reason
    assert result.not_acks == "40 × HTTP 202"


def test_answers_that_leave_events_unresolved_are_named(a_run: Run) -> None:
    a_run.status, a_run.rows = Status.UNKNOWN, list(range(EVENTS - 5))
    a_run.facts["budget"] = Budget(max_lost=0, max_unresolved=0)
    assert "40 × HTTP 202" in a_run.judged().reason


def test_nothing_sent_is_inconclusive(a_run: Run) -> None:
    a_run.sent, a_run.rows = 0, []
    assert a_run.judged().verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"problem": "the disk burned"}, "the disk burned"),
        ({"collected": False}, "never collected"),
        ({"exact": True, "predicted": Predicted(lost=3)}, "exactly 3 were made to be"),
    ],
)
def test_a_failure_of_the_instrument_is_an_error(
    a_run: Run, changes: dict[str, object], said: str
) -> None:
    a_run.facts = changes
    result = a_run.judged()
    assert result.verdict is Verdict.ERROR
    assert said in result.reason


def test_an_error_names_each_fault_that_could_not_be_healed(a_run: Run) -> None:
    """One ended the run, and the others may have left as much behind."""
    faults = [
        a_fault(fault=name, healed_ns=None, problem=f"not healed: {name} does not answer")
        for name in ("latency", "pause")
    ]
    a_run.facts = {"faults": [*faults, a_fault()], "problem": "pause does not answer"}
    assert a_run.judged().breaches == [
        "pause does not answer",
        "fault latency was not healed: latency does not answer",
    ]


def test_without_rows_nothing_is_called_lost(a_run: Run) -> None:
    a_run.facts = {"collected": False}
    result = a_run.judged()
    assert result.counts.acked == EVENTS
    assert result.counts.lost == 0
    assert "lost" in result.not_measured


@pytest.mark.parametrize("name", ["rows.npy", "pending.npy", "dead_letters.npy"])
def test_a_damaged_file_is_an_error(a_run: Run, name: str) -> None:
    a_run.judged()
    (a_run.folder / name.replace("dead_letters", "dead_lettered")).write_bytes(b"\x93NUMPY broken")
    result = judge_run(resealed(a_run.folder))
    assert result.verdict is Verdict.ERROR
    assert "cannot be judged" in result.reason


def test_the_result_file_has_the_documented_fields(a_run: Run) -> None:
    result = a_run.judged()
    result.save(a_run.folder)
    read = json.loads((a_run.folder / "result.json").read_text())
    assert read["schema"] == 1
    for name in (
        *("experiment", "target", "runtime", "verdict", "reason", "counts"),
        *("predicted", "evidence", "budget", "timings_s"),
    ):
        assert name in read
    assert list(read["counts"]) == [
        *("sent", "acked", "refused", "unknown", "delivered", "lost", "dead_lettered"),
        *("pending", "stranded", "late", "recovered", "unresolved", "resurrected", "unexpected"),
        *("duplicated", "corrupted", "reordered", "foreign"),
    ]
    read["schema_version"] = read.pop("schema")
    assert Result.model_validate(read) == result


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the folder of a run"):
        judge_run(tmp_path)
    (tmp_path / "facts.json").write_text("{}")
    with pytest.raises(UsageError, match="is damaged"):
        judge_run(tmp_path)


def _under(a_run: Run, budget: Budget) -> Result:
    facts = Facts.load(a_run.folder).model_copy(update={"budget": budget})
    return judge_facts(a_run.folder, facts)


ASKED = {"redelivered_after_s": 12.0, "stranded_measured": True}


def test_what_the_broker_holds_without_an_owner_fails_unless_it_is_allowed(a_run: Run) -> None:
    a_run.rows, a_run.stranded, a_run.facts = list(range(EVENTS - 2)), [(0, 38), (0, 39)], ASKED
    result = a_run.judged()
    assert (result.counts.stranded, result.counts.lost) == (2, 0)
    assert result.verdict is Verdict.FAIL
    assert result.reason == "stranded 2 is above the budget of 0"
    result = _under(a_run, Budget(max_lost=0, max_stranded=2))
    assert result.verdict is Verdict.PASS
    assert result.reason == "within budget: 0 of 40 acked events lost, 0 duplicated, 2 stranded"
    assert "stranded: 3 planted, 3 found" in result.self_proof


def test_what_came_only_by_redelivery_is_late_and_how_late_is_told(a_run: Run) -> None:
    # Struck at 10 s, given again after 12 s: those acked at 3.25 and at 9.25 s are late.
    a_run.shifted_ns = {3: 20 * SECOND, 9: 13 * SECOND, 8: 10 * SECOND}
    a_run.facts = ASKED
    result = a_run.judged()
    assert (result.counts.late, result.counts.delivered, result.late_by_s) == (2, EVENTS, 19.75)
    assert result.verdict is Verdict.PASS
    assert "2 delivered late, up to 19.8 s after the ack" in result.reason
    assert "late: 3 planted, 3 found" in result.self_proof
    text = io.StringIO()
    Console(file=text, width=200).print(result_table([result]))
    assert "2 (by 19.8 s)" in text.getvalue()
    result = _under(a_run, Budget(max_lost=0, max_late=1))
    assert result.reason.startswith(
        "delivered late 2 is above the budget of 1 (up to 19.8 s after the ack)"
    )


def test_a_pipeline_is_told_of_what_was_asked_for_only(a_run: Run) -> None:
    assert "stranded" not in step_summary([a_run.judged()])
    a_run.folder = a_run.folder / "asked"
    a_run.folder.mkdir()
    a_run.rows, a_run.stranded, a_run.facts = list(range(EVENTS - 1)), [(0, 39)], ASKED
    summary = step_summary([a_run.judged()])
    assert "| acked | lost | unresolved | stranded | late | recovery |" in summary
    assert "| 40 | 0 | 0 | 1 | 0 |" in summary
