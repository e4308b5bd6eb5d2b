from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.errors import ExitCode, UsageError
from lossmeter.experiment import Observed
from lossmeter.judge.bounds import Findings, judge
from lossmeter.model import Counts, Predicted, Verdict
from lossmeter.plan.budget import PREDICTED, Budget, load_budgets
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.record.result import exit_code
from lossmeter.studies import board, reported
from lossmeter.studies.standing import LOSSY
from tests.support.judged_runs import a_result

SENT = Counts(sent=100, acked=100, delivered=100)
LOSSLESS = Budget(max_lost=0, max_duplicated=0, max_unresolved=0)


def _verdict(counts: Counts, budget: Budget | None = LOSSLESS, **findings: object) -> Verdict:
    return judge(counts, budget, Findings(**findings)).verdict  # type: ignore[arg-type]


def test_within_every_bound_is_a_pass() -> None:
    assert _verdict(SENT) is Verdict.PASS


@pytest.mark.parametrize(
    ("counts", "budget", "said"),
    [
        (replace(SENT, lost=1), Budget(max_lost=0), "lost 1 is above the budget of 0"),
        (replace(SENT, lost=2), Budget(max_loss_ratio=0.01), "lost / acked 0.02"),
        (replace(SENT, duplicated=6), Budget(max_duplicated=5), "duplicated 6"),
        (replace(SENT, unresolved=1), Budget(max_unresolved=0), "unresolved 1"),
        (replace(SENT, dead_lettered=1), Budget(max_lost=0), "dead-lettered 1 is above the"),
        (replace(SENT, pending=2), Budget(max_lost=0, max_pending=1), "pending 2 is above the"),
        (replace(SENT, stranded=1), Budget(max_lost=9), "stranded 1 is above the budget of 0"),
        (replace(SENT, late=3), Budget(max_late=2), "delivered late 3 is above the budget of 2"),
        (replace(SENT, reordered=2), Budget(max_reordered=1), "reordered 2 is above the"),
        (replace(SENT, delivered=9), Budget(min_delivered=10), "delivered 9 is below the budget"),
        (replace(SENT, resurrected=1), Budget(max_lost=9), "1 refused event was persisted"),
        (replace(SENT, unexpected=1), Budget(max_lost=9), "1 row was persisted that nobody sent"),
        (replace(SENT, corrupted=1), Budget(max_lost=9), "1 event was persisted with another"),
    ],
)
def test_over_a_bound_is_a_fail_that_says_which(counts: Counts, budget: Budget, said: str) -> None:
    judgement = judge(counts, budget, Findings())
    assert judgement.verdict is Verdict.FAIL
    assert said in judgement.reason


def test_slow_recovery_fails_and_unseen_recovery_is_inconclusive() -> None:
    budget = Budget(recovery_s_max=5)
    assert _verdict(SENT, budget, recovery_s=4.0) is Verdict.PASS
    assert _verdict(SENT, budget, recovery_s=6.0) is Verdict.FAIL
    assert _verdict(SENT, budget, recovery_s=None) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("counts", "budget"),
    [
        (Counts(), LOSSLESS),
        (Counts(sent=9, refused=9), LOSSLESS),
        (SENT, None),
        (SENT, Budget()),
        (SENT, Budget(min_sent=10)),
        (SENT, Budget(max_lost=0, min_sent=101)),
    ],
)
def test_without_data_or_bounds_nothing_passes(counts: Counts, budget: Budget | None) -> None:
    assert _verdict(counts, budget) is Verdict.INCONCLUSIVE


_counts = st.builds(
    Counts,
    **{name: st.integers(0, 3) for name in Counts().as_dict()},
)
_bound = st.one_of(st.none(), st.integers(0, 3))
_budgets = st.one_of(
    st.none(),
    st.builds(
        Budget, max_lost=_bound, max_duplicated=_bound, max_unresolved=_bound, min_sent=_bound
    ),
)
_sentences = st.lists(st.text(min_size=1, max_size=5), max_size=2)


@given(_counts, _budgets, _sentences, _sentences)
def test_what_a_pass_rules_out(
    counts: Counts, budget: Budget | None, errors: list[str], doubts: list[str]
) -> None:
    verdict = judge(counts, budget, Findings(errors=errors, doubts=doubts)).verdict
    if errors:
        assert verdict is Verdict.ERROR
    elif counts.resurrected or counts.unexpected or counts.corrupted:
        assert verdict is Verdict.FAIL
    elif doubts or counts.acked == 0 or budget is None or budget.empty:
        assert verdict is Verdict.INCONCLUSIVE
    if verdict is Verdict.PASS:
        assert counts.acked > 0
        assert counts.resurrected == counts.unexpected == counts.corrupted == 0
        assert budget is not None
        assert budget.max_lost is None or counts.lost <= budget.max_lost
        assert counts.dead_lettered <= (budget.max_dead_lettered or 0)
        assert counts.pending <= (budget.max_pending or 0)


def _find(tmp_path: Path, text: str, *where: str) -> Budget | None:
    (tmp_path / "budgets.toml").write_text(text)
    return load_budgets(tmp_path / "budgets.toml").find(*where)


def test_the_most_specific_budget_applies(tmp_path: Path) -> None:
    text = (
        "[crash.default]\nmax_lost = 1\n[crash.channel]\nmax_lost = 2\n"
        "[crash.full.default]\nmax_lost = 3\n[crash.full.channel]\nmax_lost = 4\n"
    )
    for where, lost in {
        ("crash", "", "redis"): 1,
        ("crash", "", "channel"): 2,
        ("crash", "full", "redis"): 3,
        ("crash", "full", "channel"): 4,
    }.items():
        found = _find(tmp_path, text, *where)
        assert found is not None
        assert found.max_lost == lost
    assert _find(tmp_path, text, "crash", "other", "channel") is None
    assert _find(tmp_path, text, "oom", "", "channel") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[crash.channel]\nmax_lots = 1\n", "[crash.channel] max_lots"),
        ("[crash.channel]\nmax_lost = -1\n", "[crash.channel] max_lost"),
        ("[crash.channel]\nmax_loss_ratio = 2\n", "[crash.channel] max_loss_ratio"),
        ("[crash.full.channel]\nmax_lost = 'x'\n", "[crash.full.channel] max_lost"),
        ("[crash\n", "is not valid TOML"),
    ],
)
def test_a_wrong_budget_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        _find(tmp_path, text, "other", "", "target")
    assert said in str(caught.value)
    assert "budgets.toml" in str(caught.value)


def test_a_missing_file_means_no_budget(tmp_path: Path) -> None:
    assert load_budgets(tmp_path / "none.toml").find("crash", "", "channel") is None


def test_every_shipped_cell_has_a_budget() -> None:
    catalogue = Catalogue.here()
    budgets = catalogue.budgets()
    for name in catalogue.experiment_names():
        experiment = catalogue.experiment(name)
        for variant in experiment.variants:
            for target in variant.targets or experiment.targets:
                budget = budgets.find(name, variant.name, target)
                assert budget is not None, (name, variant.name, target)
                assert not budget.empty
                assert budget.min_sent


def _observed(cell: Cell) -> Iterator[Observed]:
    """Yield what a run of a cell may show when its fault strikes, also on a busy machine."""
    fault = cell.variant.faults[-1] if cell.variant.faults else None
    parameters = fault.parameters if fault else {}
    held_s = (fault and fault.hold_s) or 1.0
    for queued, busy in itertools.product((0, 520), (1.0, 1.3)):
        yield Observed(
            load=cell.variant.load,
            settings=cell.numbers(),
            queue_survives_crash=cell.target.behaviour.queue_survives_crash,
            in_hand_survives_crash=cell.target.behaviour.in_hand_survives_crash,
            queue_length=queued,
            in_flight=5,
            blind_s=0.1 * busy,
            choices=cell.choices(),
            services=cell.target.services,
            start_s=2.0 * busy,
            restart_s=3.0 * busy,
            held_s=held_s * busy,
            parameters={k: float(v) for k, v in parameters.items() if not isinstance(v, str)},
        )


def _shipped() -> list[Cell]:
    catalogue = Catalogue.here()
    named = [catalogue.experiment(name) for name in catalogue.experiment_names()]
    found = [cell for each in named for cell in cells(catalogue, each, [], [])]
    # What those may cost is what is promised; of most no model says anything. What the lossy
    # control loses is planted.
    planned = [*board.plan_of(catalogue).entries, *reported.plan_of(catalogue).entries]
    return found + [e.cell for e in planned if e.column != LOSSY and _is_predicted(e.cell)]


def _is_predicted(cell: Cell) -> bool:
    return any(cell.experiment.predict(seen).lost is not None for seen in _observed(cell))


def _recovery_s(cell: Cell, seen: Observed, predicted: Predicted) -> float | None:
    """Return the longest that service is away by what is predicted; None without a fault."""
    if not cell.variant.faults:
        return None
    outages = [f.value + f.tolerance for f in predicted.figures if f.name == "outage_s"]
    return max((seen.held_s or 0) + (seen.start_s or 0), *outages, 0)


@pytest.mark.parametrize("cell", _shipped(), ids=lambda cell: f"{cell.name}-{cell.target.name}")
def test_a_shipped_bound_allows_what_is_predicted_with_its_tolerance(cell: Cell) -> None:
    budget = cell.budget
    assert budget is not None
    for seen in _observed(cell):
        predicted = cell.experiment.predict(seen)
        recovery_s = _recovery_s(cell, seen, predicted)
        findings = Findings(predicted=predicted, recovery_s=recovery_s)
        counts = Counts(sent=10**6, acked=10**6, delivered=10**6)
        most = {
            "lost": (predicted.lost or 0) + predicted.lost_tolerance,
            "duplicated": predicted.duplicated_max or 0,
            **{f.name: math.floor(f.value + f.tolerance) for f in predicted.figures},
        }
        shown = {name: n for name, n in most.items() if f"max_{name}" in Budget.model_fields}
        judgement = judge(replace(counts, **shown), budget, findings)
        above = [reason for reason in judgement.breaches if "is above the budget" in reason]
        assert not above, (predicted, budget)
        one_more = replace(counts, lost=most["lost"] + 1)
        if budget.max_lost == PREDICTED and predicted.lost is not None:
            judgement = judge(one_more, budget, findings)
            assert any(reason.startswith("lost") for reason in judgement.breaches)


def test_a_bound_of_what_is_predicted_is_none_where_nothing_is() -> None:
    budget = Budget(max_lost=PREDICTED)
    unknown = Findings(predicted=Predicted(basis="the target does not tell its queue length"))
    for findings in (Findings(), unknown):
        judgement = judge(SENT, budget, findings)
        assert judgement.verdict is Verdict.INCONCLUSIVE
        assert "no loss is predicted" in judgement.reason
    within = Findings(predicted=Predicted(lost=262, lost_tolerance=74))
    assert judge(replace(SENT, lost=336), budget, within).verdict is Verdict.PASS
    assert judge(replace(SENT, lost=337), budget, within).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], ExitCode.NOTHING_JUDGED),
        (["pass"], ExitCode.WITHIN_BUDGET),
        (["pass", "fail"], ExitCode.OVER_BUDGET),
        (["fail", "inconclusive"], ExitCode.INCONCLUSIVE),
        (["inconclusive", "error", "pass"], ExitCode.HARNESS_ERROR),
    ],
)
def test_the_gravest_verdict_decides_the_exit_code(verdicts: list[str], code: ExitCode) -> None:
    assert exit_code([a_result(verdict) for verdict in verdicts]) is code
