"""What the judge makes of the times of rows: recovery, and times that cannot be true."""

from __future__ import annotations

import pytest

from lossmeter.judge.verdict import judge_facts
from lossmeter.model import Expected, Predicted, Verdict
from lossmeter.plan.budget import Budget
from lossmeter.record.arrays import UNDATED
from lossmeter.record.facts import Facts, FaultRecord
from tests.support.judged_runs import (
    SECOND,
    Run,
    a_fault,
)


def _recovery_s(a_run: Run, gaps: list[tuple[int, int]], *faults: FaultRecord) -> float | None:
    """Return the recovery of a run whose rows came late: each from the gap's begin at its end."""
    for begin, end in gaps:
        a_run.shifted_ns |= {n: (end - n) * SECOND for n in range(begin, end)}
    a_run.facts = {"faults": list(faults), "budget": Budget(max_lost=0, recovery_s_max=30)}
    result = a_run.judged()
    assert result.verdict is Verdict.PASS, result.reason
    return result.recovery_s


def test_recovery_is_measured_after_a_fault_that_came_at_its_time(a_run: Run) -> None:
    timed = a_fault(condition=None, met_ns=None)
    assert _recovery_s(a_run, [(10, 18)], timed) == 8


def test_of_several_faults_the_longest_recovery_counts(a_run: Run) -> None:
    first = a_fault(injected_ns=5 * SECOND, healed_ns=8 * SECOND, condition=None)
    last = a_fault(injected_ns=20 * SECOND, healed_ns=21 * SECOND)
    assert _recovery_s(a_run, [(5, 9), (20, 32)], last, first) == 12


def test_a_fault_from_before_the_load_counts_from_its_begin(a_run: Run) -> None:
    early = a_fault(injected_ns=-60 * SECOND, healed_ns=30 * SECOND)
    assert _recovery_s(a_run, [(0, 7)], early) == 7


def test_faults_that_overlap_recover_together(a_run: Run) -> None:
    outer = a_fault(injected_ns=10 * SECOND, healed_ns=30 * SECOND)
    inner = a_fault(injected_ns=20 * SECOND, healed_ns=21 * SECOND)
    assert _recovery_s(a_run, [(20, 25)], outer, inner) == 15


HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("shifted_ns", "why"),
    [
        (
            dict.fromkeys(range(30), SECOND // 2 - HOUR),
            "30 of 40 rows dated before the event",
        ),
        ({7: UNDATED}, "1 of 40 rows without a time, or with an infinite one"),
        ({7: HOUR}, "1 of 40 rows dated after the collection, by up to 3,567.000 s"),
        ({7: -(2**62)}, "1 of 40 rows dated before the event was sent"),
        ({7: 2**62}, "1 of 40 rows dated after the collection"),
        ({7: -11_000_000}, "1 of 40 rows dated before the event was sent, by up to 0.011 s"),
    ],
)
def test_times_of_rows_that_cannot_be_true_are_not_measured(
    a_run: Run, shifted_ns: dict[int, int], why: str
) -> None:
    a_run.shifted_ns = shifted_ns
    a_run.facts = {
        "collected_ns": 40 * SECOND,
        "budget": Budget(max_lost=0, recovery_s_max=9),
        "predicted": Predicted(
            figures=(Expected("held_per_s", 1, 9, ""), Expected("throughput_per_s", 1, 9, ""))
        ),
    }
    result = a_run.judged()
    assert why in result.times_problem
    assert result.recovery_s is None
    assert result.load is not None
    assert result.load.persisted_per_s is None
    assert [each.measured for each in result.comparisons] == [None, None]
    assert result.verdict is Verdict.INCONCLUSIVE
    unseen = "recovery_s_max is set, and recovery was never seen"
    assert result.reason == f"{unseen}: {result.times_problem}"
    facts = Facts.load(a_run.folder).model_copy(update={"budget": Budget(max_lost=0)})
    assert judge_facts(a_run.folder, facts).verdict is Verdict.PASS, "no bound rests on times"


def test_what_a_clock_can_be_off_is_no_problem(a_run: Run) -> None:
    a_run.shifted_ns = {7: -10_000_000, 39: SECOND + 10_000_000}
    a_run.facts = {"collected_ns": 40 * SECOND}
    result = a_run.judged()
    assert (result.times_problem, result.recovery_s) == ("", 0)


def test_rows_without_times_say_nothing_of_recovery(a_run: Run) -> None:
    a_run.facts = {"times_measured": False, "budget": Budget(max_lost=0, recovery_s_max=9)}
    result = a_run.judged()
    assert (result.verdict, result.recovery_s) == (Verdict.INCONCLUSIVE, None)
    assert "the target's rows bear no times" in result.reason


ASKED = {"redelivered_after_s": 12.0, "stranded_measured": True}


def test_late_is_not_claimed_where_the_times_of_rows_cannot_be_true(a_run: Run) -> None:
    a_run.shifted_ns = {3: 20 * SECOND, 5: -9 * SECOND}
    a_run.facts = ASKED | {"budget": Budget(max_lost=0, max_late=9)}
    result = a_run.judged()
    assert result.counts.late == 0
    assert "max_late is set, and late was never measured" in result.reason
