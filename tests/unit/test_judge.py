"""Runs written to disk by hand, and what the judge makes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from harness.budget import Budget
from harness.errors import UsageError
from harness.facts import Facts, FaultRecord
from harness.judge import judge_run
from harness.ledger.collected import Collected
from harness.ledger.records import PAIR, ROW
from harness.load.journal import JournalWriter
from harness.marks import save_marks
from harness.model import AckLevel, Counts, Evidence, Predicted, Status, Verdict
from harness.result import Result
from targets.dispatcher.events import Event
from targets.dispatcher.stages import FileMarks, Stage

EVENTS = 40
SECOND = 10**9
INJECTED, HEALED = 10 * SECOND, 20 * SECOND


def a_result(verdict: str) -> Result:
    return Result(
        run_id="r",
        experiment="e",
        hypothesis="h",
        target="t",
        ack_level="enqueued",
        runtime="local",
        seed=1,
        verdict=verdict,
        reason="",
        counts=Counts(),
    )


def _evidence(source: str, *, holds: bool = True) -> Evidence:
    return Evidence(source, "it happened", "seen", holds, INJECTED)


def _fault(**changes: object) -> FaultRecord:
    good: dict[str, object] = {
        "fault": "sigkill",
        "condition": "queue_length >= 5",
        "met_ns": INJECTED,
        "injected_ns": INJECTED,
        "healed_ns": HEALED,
        "evidence": [_evidence("waitpid"), _evidence("health-probe")],
    }
    return FaultRecord.model_validate(good | changes)


@dataclass
class Run:
    """A run that passes, unless something is changed. One event a second."""

    folder: Path
    facts: dict[str, object] = field(default_factory=dict)
    sent: int = EVENTS
    status: Status = Status.ACKED
    end: bool = True
    clock_jump_ns: int = 0
    lag_ns: int = 0
    rows: list[int] = field(default_factory=lambda: list(range(EVENTS)))

    def judged(self) -> Result:
        good: dict[str, object] = {
            "run_id": "r",
            "experiment": "crash",
            "hypothesis": "h",
            "target": "t",
            "ack_level": AckLevel.ENQUEUED,
            "runtime": "local",
            "seed": 1,
            "events_planned": EVENTS,
            "rate_per_s": 1.0,
            "exact": False,
            "budget": Budget(max_lost=0),
            "faults": [_fault()],
            "hashes_measured": True,
            "positions_measured": True,
            "times_measured": True,
            "load_exit_code": 0,
            "settled": True,
            "collected": True,
        }
        Facts.model_validate(good | self.facts).save(self.folder)
        self._journal()
        rows = np.zeros(len(self.rows), ROW)
        rows["sequence"] = self.rows
        rows["position"] = np.arange(len(rows))
        rows["persisted_ns"] = rows["sequence"] * SECOND + SECOND // 2
        Collected(rows, np.empty(0, PAIR), np.empty(0, PAIR)).save(self.folder)
        return judge_run(self.folder)

    def _journal(self) -> None:
        with JournalWriter(self.folder / "journal-0.bin", 0, 1, 1, 0) as journal:
            for n in range(self.sent):
                journal.intent(0, n, n * SECOND - self.lag_ns, n * SECOND, 0)
                journal.outcome(0, n, n * SECOND + SECOND // 4, self.status, 202)
            if self.end:
                journal.end(EVENTS * SECOND, self.clock_jump_ns)


@pytest.fixture
def a_run(tmp_path: Path) -> Run:
    return Run(tmp_path)


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
        ({"faults": [_fault(evidence=[_evidence("waitpid")])]}, "1 independent sources"),
        (
            {"faults": [_fault(evidence=[_evidence("waitpid"), _evidence("waitpid")])]},
            "1 independent sources",
        ),
        ({"faults": [_fault(evidence=[])]}, "0 independent sources"),
        (
            {
                "faults": [
                    _fault(
                        evidence=[
                            _evidence("waitpid"),
                            _evidence("health-probe"),
                            _evidence("process-table", holds=False),
                        ]
                    )
                ]
            },
            "evidence against fault sigkill",
        ),
        (
            {"faults": [_fault(injected_ns=None, problem="never full")]},
            "never injected: never full",
        ),
        ({"faults": [_fault(healed_ns=None)]}, "was never healed"),
        (
            {"faults": [_fault(injected_ns=SECOND + 1, healed_ns=SECOND + 2)]},
            "no load while fault sigkill held",
        ),
        ({"settled": False, "settled_how": "rows still arrive"}, "rows still arrive"),
        ({"load_exit_code": 70}, "exit code 70"),
        ({"events_planned": EVENTS + 1}, "40 of 41 planned events"),
        ({"budget": None}, "no budget"),
        ({"clock_jump_s": 0.051}, "the clock of this machine jumped by 0.051 s"),
        ({"probe_gap_s": 0.51}, "kept from looking for 0.51 s"),
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
    saved = np.load(a_run.folder / "stages.npy")
    assert saved["sequence"].tolist() == [0, 1, 2, 3, 37, 38, 39]
    assert set(saved["stage"]) == {"queued"}


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


def test_nothing_acked_is_inconclusive(a_run: Run) -> None:
    a_run.status, a_run.rows = Status.REFUSED, []
    result = a_run.judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "nothing was acked" in result.reason


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
    result = judge_run(a_run.folder)
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
        *("pending", "recovered", "unresolved", "resurrected", "unexpected"),
        *("duplicated", "corrupted", "reordered"),
    ]
    assert Result.load_from(a_run.folder) == result


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the folder of a run"):
        judge_run(tmp_path)
    (tmp_path / "facts.json").write_text("{}")
    with pytest.raises(UsageError, match="is damaged"):
        judge_run(tmp_path)
