"""A budget that cannot be judged is told, and one that was not measured never passes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lossmeter.errors import UsageError
from lossmeter.judge.bounds import Findings, judge
from lossmeter.model import Counts, Verdict
from lossmeter.plan.budget import Budget, load_budgets

CLEAN = Counts(sent=100, acked=100, delivered=100)


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        ("max_lost", "lost"),
        ("max_loss_ratio", "lost"),
        ("max_duplicated", "duplicated"),
        ("max_unresolved", "unresolved"),
        ("max_dead_lettered", "dead_lettered"),
        ("max_pending", "pending"),
        ("max_stranded", "stranded"),
        ("max_late", "late"),
        ("max_reordered", "reordered"),
        ("min_delivered", "delivered"),
    ],
)
def test_a_bound_on_what_was_never_measured_is_inconclusive(bound: str, name: str) -> None:
    budget = Budget.model_validate({bound: 0})
    assert judge(CLEAN, budget, Findings()).verdict is Verdict.PASS
    judgement = judge(CLEAN, budget, Findings(not_measured=frozenset({name})))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.reason == f"{bound} is set, and {name} was never measured"


@pytest.mark.parametrize("reading", [None, math.nan, math.inf])
def test_a_recovery_that_is_no_number_was_never_seen(reading: float | None) -> None:
    judgement = judge(CLEAN, Budget(recovery_s_max=5), Findings(recovery_s=reading))
    assert judgement.verdict is Verdict.INCONCLUSIVE


def test_what_is_not_measured_does_not_hinder_a_budget_without_a_bound_on_it() -> None:
    findings = Findings(not_measured=frozenset({"corrupted", "reordered"}))
    assert judge(CLEAN, Budget(max_lost=0), findings).verdict is Verdict.PASS


@pytest.mark.parametrize("field", sorted(Budget.model_fields))
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, True, "5"])
def test_a_bound_that_bounds_nothing_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate({field: value})


@pytest.mark.parametrize(
    "budget",
    [
        Budget(max_duplicated=0),
        Budget(max_unresolved=0),
        Budget(max_late=5),
        Budget(recovery_s_max=9),
        Budget(min_delivered=0),
        Budget(max_dead_lettered=400, max_pending=400, max_stranded=400),
    ],
)
def test_a_budget_that_allows_no_loss_does_not_get_any(budget: Budget) -> None:
    counts = Counts(sent=400, acked=400, lost=400)
    verdict = judge(counts, budget, Findings(recovery_s=0.1))
    assert verdict.verdict is Verdict.FAIL
    assert verdict.reason == "lost 400 is above the budget of 0"
    none_lost = Counts(sent=400, acked=400, delivered=400)
    assert judge(none_lost, budget, Findings(recovery_s=0.1)).verdict is Verdict.PASS
    allowed = budget.model_copy(update={"max_loss_ratio": 1.0})
    assert judge(counts, allowed, Findings(recovery_s=0.1)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_lost = 1\n", "max_lost is in the wrong place"),
        ("crash = 5\n", "crash is in the wrong place"),
        ("[crash]\nmax_lost = 1\n", "crash is in the wrong place"),
        ("[crash.full.a.channel]\nmax_lost = 1\n", "crash.full.a.channel is in the wrong place"),
        ("[crash.channel]\nmax_loss_ratio = nan\n", "[crash.channel] max_loss_ratio"),
        ("[crash.channel]\nmax_lost = true\n", "[crash.channel] max_lost"),
    ],
)
def test_a_budget_that_would_never_apply_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "budgets.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_budgets(tmp_path / "budgets.toml")
    assert said in str(caught.value)
    assert "budgets.toml" in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_budgets(tmp_path)


counts = st.builds(Counts, **{name: st.integers(0, 3) for name in Counts().as_dict()})
bound = st.one_of(st.none(), st.integers(0, 3))
ratio = st.one_of(st.none(), st.floats(0, 1))
budgets = st.builds(
    Budget,
    max_lost=bound,
    max_loss_ratio=ratio,
    max_duplicated=bound,
    max_unresolved=bound,
    max_dead_lettered=bound,
    max_pending=bound,
    max_stranded=bound,
    max_late=bound,
    max_reordered=bound,
    min_sent=bound,
    min_delivered=bound,
    recovery_s_max=st.one_of(st.none(), st.floats(0, 9)),
)
findings = st.builds(
    Findings,
    not_measured=st.frozensets(st.sampled_from([*Counts().as_dict()]), max_size=2),
    recovery_s=st.one_of(st.none(), st.floats(0, 10), st.just(math.nan)),
)


@given(counts, budgets, findings)
def test_a_pass_means_that_every_bound_was_measured_and_kept(
    counts: Counts, budget: Budget, findings: Findings
) -> None:
    if judge(counts, budget, findings).verdict is not Verdict.PASS:
        return
    kept = {
        "lost": budget.max_lost,
        "duplicated": budget.max_duplicated,
        "unresolved": budget.max_unresolved,
    }
    for name, limit in kept.items():
        assert limit is None or getattr(counts, name) <= limit
        assert limit is None or name not in findings.not_measured
    if budget.max_loss_ratio is not None:
        assert counts.lost / counts.acked <= budget.max_loss_ratio
        assert "lost" not in findings.not_measured
    if budget.recovery_s_max is not None:
        assert findings.recovery_s is not None
        assert findings.recovery_s <= budget.recovery_s_max
    for name in ("dead_lettered", "pending", "stranded"):
        assert getattr(counts, name) <= (getattr(budget, f"max_{name}") or 0)
    assert counts.late <= (math.inf if budget.max_late is None else budget.max_late)
    if budget.max_reordered is not None:
        assert counts.reordered <= budget.max_reordered
        assert "reordered" not in findings.not_measured
    assert counts.delivered >= (budget.min_delivered or 0)
    assert counts.sent >= (budget.min_sent or 0)
    assert not budget.empty
    assert counts.resurrected == counts.unexpected == counts.corrupted == 0
