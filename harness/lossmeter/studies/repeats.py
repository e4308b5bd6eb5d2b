"""What several runs of the same say together: the unit is the run.

Runs that are inconclusive or in error say nothing and are counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import binom, binomtest, bootstrap

from lossmeter.errors import UsageError
from lossmeter.model import HELD, Verdict
from lossmeter.record.result import Result

CONFIDENCE = 0.95
RESAMPLES = 9999


class Decision(StrEnum):
    """What a sequential test came to."""

    WITHIN = "within"
    OVER = "over"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Sequential:
    """A sequential probability ratio test on the chance that a run breaks its budget.

    Source: A. Wald, Sequential Tests of Statistical Hypotheses, 1945.

    Attributes:
        good: a target whose runs break the budget at most this often is within.
        bad: one whose runs break it at least this often is over.
        error: the chance of either mistake, at most about this.
        maximum: runs after which it stays undecided.
    """

    good: float = 0.05
    bad: float = 0.5
    error: float = 0.05
    maximum: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.good < self.bad < 1:
            raise UsageError(
                f"chances of {self.good:g} and {self.bad:g} cannot be told apart; right is "
                "0 < good < bad < 1"
            )
        if not 0 < self.error < 0.5:
            raise UsageError(f"an error rate of {self.error:g} is not between 0 and 0.5")

    def decide(self, broken: int, runs: int) -> Decision:
        """Return what ``broken`` of ``runs`` runs over budget decide."""
        ratio = float(binom.logpmf(broken, runs, self.bad) - binom.logpmf(broken, runs, self.good))
        bound = math.log((1 - self.error) / self.error)
        if ratio >= bound:
            return Decision.OVER
        return Decision.WITHIN if ratio <= -bound else Decision.UNDECIDED

    def __str__(self) -> str:
        return (
            f"runs over budget at most {self.good:.0%} of the time against {self.bad:.0%} or "
            f"more, error rate {self.error:.0%}, at most {self.maximum} runs"
        )


class Summary(BaseModel):
    """Several runs of one cell.

    Attributes:
        runs: how many were made; ``judged``: that passed or failed.
        lossy: judged runs that lost anything; ``broken``: that were over budget.
        loss_chance_max: one-sided upper bound on the chance that a run loses anything, by
            Clopper and Pearson, at ``confidence``; None when none was judged.
        break_chance_max: the same for the chance that a run is over budget.
        lost_median: events lost, over the judged runs; ``lost_low`` and ``lost_high``: its
            bootstrap interval at ``confidence``; None with fewer than two runs.
        held_most: the most that one judged run left dead-lettered, pending or stranded, in
            events by class; a class of which none had any is left out.
        decision: of the sequential test; None when none was made. ``test`` states it.
    """

    model_config = ConfigDict(extra="forbid")

    experiment: str
    target: str
    runs: int
    judged: int
    lossy: int
    broken: int
    confidence: float = CONFIDENCE
    loss_chance_max: float | None = None
    break_chance_max: float | None = None
    lost_median: float | None = None
    lost_low: float | None = None
    lost_high: float | None = None
    held_most: dict[str, int] = {}
    decision: Decision | None = None
    test: str | None = None
    seeds: list[int]


def summarise(results: Sequence[Result], test: Sequential | None = None) -> Summary:
    """Return what the runs of one cell say together."""
    judged = _judged(results)
    lost = [result.counts.lost for result in judged]
    lossy, broken = sum(number > 0 for number in lost), _broken(judged)
    low, high = _interval(lost, results[0].seed)
    return Summary(
        experiment=results[0].experiment,
        target=results[0].target,
        runs=len(results),
        judged=len(judged),
        lossy=lossy,
        broken=broken,
        loss_chance_max=chance_max(lossy, len(judged)),
        break_chance_max=chance_max(broken, len(judged)),
        lost_median=float(np.median(lost)) if lost else None,
        lost_low=low,
        lost_high=high,
        held_most=_held_most(judged),
        decision=decided(results, test) if test else None,
        test=str(test) if test else None,
        seeds=[result.seed for result in results],
    )


def _held_most(judged: Sequence[Result]) -> dict[str, int]:
    most = {n: max((result.count(n) or 0 for result in judged), default=0) for n in HELD}
    return {name: number for name, number in most.items() if number}


def decided(results: Sequence[Result], test: Sequential) -> Decision:
    """Return what the runs so far decide."""
    judged = _judged(results)
    return test.decide(_broken(judged), len(judged))


def chance_max(times: int, runs: int) -> float | None:
    """Return the exact one-sided upper bound on a chance, at CONFIDENCE."""
    if not runs:
        return None
    found = binomtest(times, runs, alternative="less").proportion_ci(CONFIDENCE, "exact")
    return float(found.high)


def _interval(lost: Sequence[int], seed: int) -> tuple[float | None, float | None]:
    """Return the bootstrap interval of the median; None where one run is all there is."""
    if len(lost) < 2:
        return None, None
    found = bootstrap(
        (np.array(lost, float),),
        np.median,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _judged(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.verdict.judged]


def _broken(judged: Sequence[Result]) -> int:
    return sum(result.verdict is Verdict.FAIL for result in judged)
