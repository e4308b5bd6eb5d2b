"""What counts as a change against a baseline, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from lossmeter.report.change import Change, Side, change, enough, interval

FEW = [500.0, 505.0]
LOW = [500.0, 503.0, 505.0, 502.0, 501.0]
HIGH = [900.0, 905.0, 903.0, 899.0, 901.0]


def seen(now: list[float], before: list[float], *, higher_is_better: bool = False) -> Change:
    return change(Side(np.array(now), np.array(before)), higher_is_better=higher_is_better).change


def test_a_clear_difference_has_its_direction() -> None:
    assert seen(HIGH, LOW) is Change.WORSE
    assert seen(LOW, HIGH) is Change.BETTER
    assert seen(HIGH, LOW, higher_is_better=True) is Change.BETTER
    assert seen(LOW, HIGH, higher_is_better=True) is Change.WORSE


def test_the_same_is_noise() -> None:
    assert seen(LOW, LOW) is Change.NOISE
    assert seen([0.0] * 5, [0.0] * 5) is Change.NOISE


def test_overlapping_repeats_are_noise() -> None:
    assert seen([1.0, 9.0, 4.0, 6.0, 5.0], [2.0, 8.0, 5.0, 6.0, 3.0]) is Change.NOISE


def test_sides_without_any_spread_can_differ() -> None:
    assert seen([5.0] * 5, [0.0] * 5) is Change.WORSE


@pytest.mark.parametrize(
    ("now", "before"), [([1.0], [9.0]), (FEW, HIGH[:2]), (LOW[:3], HIGH[:3]), ([1.0], HIGH)]
)
def test_few_repeats_cannot_tell(now: list[float], before: list[float]) -> None:
    assert seen(now, before) is Change.FEW


def test_four_a_side_are_enough() -> None:
    assert enough(4, 4)
    assert not enough(3, 3)
    assert not enough(1, 100)


def test_nothing_on_one_side_is_no_comparison() -> None:
    assert seen([], LOW) is Change.ABSENT
    assert seen(LOW, []) is Change.ABSENT


def test_the_interval_is_repeatable_and_holds_the_difference() -> None:
    side = Side(np.array(HIGH), np.array(LOW))
    low, high = interval(side)
    assert (low, high) == interval(side)
    assert low <= np.mean(HIGH) - np.mean(LOW) <= high


def test_of_unchanged_figures_few_are_marked() -> None:
    random = np.random.default_rng(7)
    marked = sum(
        seen(list(random.normal(size=8)), list(random.normal(size=8))) is not Change.NOISE
        for _ in range(100)
    )
    assert marked <= 20
