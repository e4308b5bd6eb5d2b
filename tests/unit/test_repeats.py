"""What several runs say together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.errors import ExitCode, UsageError
from lossmeter.model import Counts
from lossmeter.plan.seeds import derived
from lossmeter.record.result import Result
from lossmeter.studies.repeats import Decision, Sequential, chance_max, decided, summarise
from tests.support.judged_runs import a_result


def _runs(*lost: int | None, budget: int = 0) -> list[Result]:
    """Return judged runs that lost so many events each; None stands for an inconclusive one."""
    made = []
    for number, count in enumerate(lost):
        verdict = "inconclusive" if count is None else "fail" if count > budget else "pass"
        reported = {"counts": Counts(acked=1000, lost=count or 0), "seed": number}
        made.append(a_result(verdict).model_copy(update=reported))
    return made


def test_runs_without_a_loss_bound_the_chance_of_one() -> None:
    summary = summarise(_runs(0, 0, 0, 0, 0))
    # Zero of five: 1 - 0.05 ** (1 / 5).
    assert summary.loss_chance_max == pytest.approx(0.4507, abs=1e-4)
    assert (summary.runs, summary.judged, summary.lossy, summary.broken) == (5, 5, 0, 0)
    assert (summary.lost_median, summary.lost_low, summary.lost_high) == (0, 0, 0)


def test_losses_have_a_median_and_an_interval() -> None:
    summary = summarise(_runs(500, 505, 507, 501, 503, budget=1000))
    assert summary.lost_median == 503
    assert summary.lost_low is not None
    assert summary.lost_high is not None
    assert 500 <= summary.lost_low <= 503 <= summary.lost_high <= 507
    assert (summary.lossy, summary.broken) == (5, 0)
    assert summary.loss_chance_max == 1


def test_inconclusive_runs_say_nothing() -> None:
    summary = summarise(_runs(0, None, None))
    assert (summary.runs, summary.judged) == (3, 1)
    assert summary.loss_chance_max == chance_max(0, 1)
    nothing = summarise(_runs(None))
    assert nothing.loss_chance_max is None
    assert nothing.lost_median is None
    assert nothing.lost_low is None


def test_one_run_has_no_interval() -> None:
    assert summarise(_runs(3)).lost_low is None


def test_the_interval_is_the_same_for_the_same_seed() -> None:
    runs = _runs(1, 5, 9, 2, 8)
    assert summarise(runs) == summarise(runs)


@given(st.integers(1, 60), st.data())
def test_the_bound_lies_above_what_was_seen(runs: int, data: st.DataObject) -> None:
    times = data.draw(st.integers(0, runs))
    bound = chance_max(times, runs)
    assert bound is not None
    assert times / runs <= bound <= 1


def test_good_runs_are_decided_soon_and_bad_ones_sooner() -> None:
    test = Sequential()
    first = [next(n for n in range(1, 99) if test.decide(k * n, n) is not Decision.UNDECIDED)
             for k in (0, 1)]  # fmt: skip
    assert first == [5, 2]
    assert decided(_runs(0, 0, 0, 0, 0), test) is Decision.WITHIN
    assert decided(_runs(1, 1), test) is Decision.OVER
    assert decided(_runs(1, 0), test) is Decision.UNDECIDED
    assert decided(_runs(None, None, None, None, None, None), test) is Decision.UNDECIDED


@pytest.mark.parametrize(("chance", "wrong"), [(0.05, Decision.OVER), (0.5, Decision.WITHIN)])
def test_the_error_rate_is_kept(chance: float, wrong: Decision) -> None:
    """All ways that runs can go, weighed by their chance: no sampling, so no luck."""
    test = Sequential(maximum=60)
    open_ = {0: 1.0}
    mistakes = 0.0
    for runs in range(1, test.maximum + 1):
        grown: dict[int, float] = {}
        for broken, weight in open_.items():
            for more, share in ((0, 1 - chance), (1, chance)):
                decision = test.decide(broken + more, runs)
                if decision is wrong:
                    mistakes += weight * share
                elif decision is Decision.UNDECIDED:
                    grown[broken + more] = grown.get(broken + more, 0) + weight * share
        open_ = grown
    assert mistakes <= test.error
    assert sum(open_.values()) < 0.01


@pytest.mark.parametrize("wrong", [{"good": 0.5}, {"bad": 1.0}, {"good": 0.0}, {"error": 0.5}])
def test_a_test_that_cannot_decide_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Sequential(**wrong)  # type: ignore[arg-type]


def test_seeds_of_repeats_come_from_one_seed() -> None:
    seeds = [derived(42, repeat) for repeat in range(100)]
    assert seeds[0] == 42
    assert seeds == [derived(42, repeat) for repeat in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derived(43, 1) != derived(42, 1)


@pytest.mark.parametrize(
    ("losses", "test", "code"),
    [
        ((0, 0), None, ExitCode.WITHIN_BUDGET),
        ((0, 1), None, ExitCode.OVER_BUDGET),
        ((1, None), None, ExitCode.INCONCLUSIVE),
        ((0, 1), Sequential(), ExitCode.INCONCLUSIVE),
        ((1, 1), Sequential(), ExitCode.OVER_BUDGET),
        ((0,) * 5, Sequential(), ExitCode.WITHIN_BUDGET),
        # One run of ten is over: the test decides within, and so does the exit code.
        ((0, 1, *(0,) * 8), Sequential(), ExitCode.WITHIN_BUDGET),
        ((0, None, *(0,) * 4), Sequential(), ExitCode.WITHIN_BUDGET),
    ],
)
def test_the_gravest_run_decides_the_exit_code(
    losses: tuple[int | None, ...], test: Sequential | None, code: ExitCode
) -> None:
    from lossmeter.commands._repeating import code_of

    runs = _runs(*losses)
    assert code_of(runs, [summarise(runs, test)]) is code
