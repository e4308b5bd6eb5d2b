from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.budget import Budget, Findings, judge, load_budgets
from harness.catalogue import Catalogue
from harness.errors import ExitCode, UsageError
from harness.model import Counts, Verdict
from harness.result import exit_code
from tests.unit.test_judge import a_result

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
        (replace(SENT, resurrected=1), Budget(max_lost=9), "refused events were persisted"),
        (replace(SENT, unexpected=1), Budget(max_lost=9), "that nobody sent"),
        (replace(SENT, corrupted=1), Budget(max_lost=9), "another payload"),
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
    elif doubts or counts.acked == 0 or budget is None or budget.empty:
        assert verdict is Verdict.INCONCLUSIVE
    if verdict is Verdict.PASS:
        assert counts.acked > 0
        assert counts.resurrected == counts.unexpected == counts.corrupted == 0
        assert budget is not None
        assert budget.max_lost is None or counts.lost <= budget.max_lost


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
