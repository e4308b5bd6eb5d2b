"""Figures on pages and in tables say no other number than the one that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from lossmeter.model import Counts, Predicted, Verdict
from lossmeter.plan.budget import Budget
from lossmeter.record.facts import Facts
from lossmeter.record.result import Comparison, Result
from lossmeter.report import words
from lossmeter.report.explanation import explained
from lossmeter.report.run_tables import budget_grid
from lossmeter.report.series import Axis, Rates
from lossmeter.report.table import _predicted, lost_line
from lossmeter.report.telling import timeline_rows
from tests.support.judged_runs import a_result

OUTAGE = Comparison(
    name="outage_s",
    unit="s",
    predicted=2,
    measured=5,
    difference=3,
    tolerance=1,
    reason="",
    holds=False,
)


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (1, 1_000_000, "0.0001 %"),
        (1, 3_000_000, "0.00003 %"),
        (999_999, 1_000_000, "99.9999 %"),
        (1, 10_000, "0.010 %"),
        (1, 3, "33.3 %"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 0, "–"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(part: int, whole: int, said: str) -> None:
    assert words.percent(part, whole) == said


def judged(**more: object) -> Result:
    known = {
        "verdict": Verdict.PASS,
        "counts": Counts(sent=1_000_000, acked=1_000_000, delivered=999_738, lost=262),
        "predicted": Predicted(lost=262, lost_tolerance=74, duplicated_max=5),
        "difference": 0,
        "comparisons": [OUTAGE],
        "prediction_holds": False,
    }
    return a_result("pass").model_copy(update=known | more)


def test_a_loss_as_predicted_is_not_marked_since_another_figure_was_missed() -> None:
    assert _predicted(judged()) == "262 ± 74"
    assert _predicted(judged(difference=-80)) == "262 ± 74 ✗"


def facts(rate_per_s: float = 200.0) -> Facts:
    names = ("run_id", "experiment", "hypothesis", "target", "runtime")
    return Facts.model_validate(
        {
            **dict.fromkeys(names, "x"),
            "ack_level": "enqueued",
            "seed": 1,
            "events_planned": 9,
            "exact": False,
            "rate_per_s": rate_per_s,
        }
    )


def test_it_says_which_figure_differs_from_the_model() -> None:
    *_, sure = explained(judged(), facts())
    assert "What was lost agrees with the model, which expects 262 ± 74." in sure
    assert sure.endswith(
        "The model expects longest time without an ack 2.00 s ± 1.00 s; it was 5.00 s."
    )
    # Where it says nothing of the loss, nothing of it agrees.
    *_, sure = explained(judged(predicted=Predicted(), difference=None), facts())
    assert "What was lost" not in sure


def test_how_long_acks_had_been_in_vain_is_said() -> None:
    """What a broker had acked and not flushed is what a loss of power is about."""
    said = lost_line(judged(stages={"in the broker": 262}, volatile_ms=842.0))
    assert said == "lost: 262 in the broker; acked up to 842 ms before the fault struck"
    assert lost_line(judged(stages={"in hand": 262})) == "lost: 262 in hand"


def test_few_events_a_second_are_not_called_none() -> None:
    assert "were sent to t at 0.4 a second" in explained(judged(), facts(0.4))[0]
    few = np.full(4, 0.4)
    (first, *_) = timeline_rows(Axis(0, np.arange(5.0)), Rates(few, few, few), np.full(4, np.nan))
    assert first[1:4] == ("0.4", "0.4", "0.4")


@pytest.mark.parametrize(
    ("budget", "more", "shown"),
    [
        (Budget(max_lost=999, recovery_s_max=10), {"recovery_s": 10.004}, "10.004 s"),
        (Budget(max_loss_ratio=0.00026), {}, "0.0262 %"),
    ],
)
def test_what_is_beyond_a_bound_never_looks_like_the_bound(
    budget: Budget, more: dict[str, object], shown: str
) -> None:
    grid = budget_grid(judged(budget=budget, **more))
    broken = [row for row in grid.rows if row.broken]
    (measured,) = [grid.columns[2].show(row) for row in broken]
    assert getattr(measured, "text", measured) == shown
    assert shown not in {grid.columns[1].show(row) for row in broken}
