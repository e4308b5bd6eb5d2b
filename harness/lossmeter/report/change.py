"""Whether a figure changed against a baseline, by the repeats of both sides.

The interval is a bootstrap of the difference of means (scipy). Before it is believed there
must be enough repeats: with few, sides that do not differ at all come apart by chance. Of
n and m repeats drawn from one source, all of one side lie above all of the other in 2 of
``comb(n + m, n)`` cases; below ``LEAST_ORDERS`` that alone is more than one in twenty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

CONFIDENCE = 0.95
RESAMPLES = 4999
LEAST_ORDERS = 2 / (1 - CONFIDENCE)

Floats = npt.NDArray[np.float64]


class Change(StrEnum):
    """How a figure stands against its baseline."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "within noise"
    FEW = "cannot tell"
    ABSENT = "no baseline"


@dataclass(frozen=True, slots=True)
class Side:
    """A figure of each repeat, now and in the baseline."""

    now: Floats
    before: Floats


@dataclass(frozen=True, slots=True)
class Seen:
    """A change, with the interval of the difference now − before; NaN where there is none."""

    change: Change
    low: float = math.nan
    high: float = math.nan


def change(side: Side, *, higher_is_better: bool) -> Seen:
    """Return whether a figure is better, worse, within noise, or cannot be known."""
    if not len(side.before) or not len(side.now):
        return Seen(Change.ABSENT)
    if not enough(len(side.now), len(side.before)):
        return Seen(Change.FEW)
    low, high = interval(side)
    if low <= 0 <= high:
        return Seen(Change.NOISE, low, high)
    better = (low > 0) == higher_is_better
    return Seen(Change.BETTER if better else Change.WORSE, low, high)


def enough(now: int, before: int) -> bool:
    """Return whether so many repeats a side can show a difference at all."""
    return now > 1 and before > 1 and math.comb(now + before, now) >= LEAST_ORDERS - 1e-9


def interval(side: Side) -> tuple[float, float]:
    """Return the bootstrap interval of the difference of means; two or more repeats a side."""
    if not np.ptp(side.now) and not np.ptp(side.before):
        apart = float(side.now[0] - side.before[0])
        return apart, apart
    found = bootstrap(
        (side.now, side.before),
        _difference,
        n_resamples=RESAMPLES,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _difference(now: Floats, before: Floats, axis: int = -1) -> Floats:
    return np.asarray(now.mean(axis=axis) - before.mean(axis=axis))
