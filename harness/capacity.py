"""Finds the highest rate that a target sustains, by runs at rates that close in on it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.catalogue import Cell
from harness.environment import machine
from harness.errors import UsageError
from harness.experiment import Experiment, Load, Observed, Phase, Variant
from harness.ledger.collected import Collected
from harness.load.reading import read_journals
from harness.model import Predicted, Verdict
from harness.result import Result
from harness.target import Target

MOST_RUNS = 20
# Events are due evenly; a load that falls behind by more than this measured itself.
KEPT_WITHIN = 0.01


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a rate counts as sustained.

    Attributes:
        latency_p99_ms: from the scheduled time to the yes.
        backlog_s: from the last event sent until the last row persisted: a queue that only
            stores what it cannot handle shows here.
        refused_ratio: refused / sent.
    """

    latency_p99_ms: float = 1000.0
    backlog_s: float = 2.0
    refused_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Search:
    """Where to look.

    Attributes:
        start_per_s: the first rate.
        most_per_s: never ask for more.
        hold_s: length of each run's load.
        precision: stop when the rates that hold and do not differ by this share.
        limit_s: begin no run after so long.
    """

    start_per_s: float = 100.0
    most_per_s: float = 20_000.0
    hold_s: float = 10.0
    precision: float = 0.05
    limit_s: float = 900.0

    def __post_init__(self) -> None:
        if not 0 < self.start_per_s <= self.most_per_s:
            raise UsageError(
                f"--start {self.start_per_s:g} is not above 0 and at most --most "
                f"{self.most_per_s:g}"
            )
        if not 0 < self.precision < 1:
            raise UsageError(f"--precision {self.precision:g} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Tried:
    """One rate that was tried.

    Attributes:
        rate_per_s: asked.
        sustained: every bound held.
        why: the first bound that did not, or an empty string.
        target_at_fault: False when the load itself could not keep the rate, or the run said
            nothing; such a rate bounds the search, but not the target.
        run_id: the run's folder.
        latency_p99_ms, backlog_s: as measured; None where they were not.
    """

    rate_per_s: float
    sustained: bool
    why: str
    target_at_fault: bool
    run_id: str
    latency_p99_ms: float | None
    backlog_s: float | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was found.

    Attributes:
        like: the experiment whose settings it had; None for the target's own.
        sustained_per_s: highest rate tried that was sustained; None when none was.
        failed_per_s: lowest rate tried above it that was not; None when none was.
        limited_by: what the target failed by there; or that the search or the load ended.
        tried: every run, in order.
    """

    target: str
    runtime: str
    seed: int
    like: str | None
    sustained_per_s: float | None
    failed_per_s: float | None
    limited_by: str
    bounds: Bounds
    search: Search
    at: str
    machine: dict[str, str | int | float]
    tried: tuple[Tried, ...]

    def save(self, path: Path) -> None:
        """Write it as JSON; a reader never sees half a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.tmp")
        partial.write_text(json.dumps({"schema": 1} | asdict(self), indent=2) + "\n", "utf-8")
        partial.replace(path)


def look(search: Search, attempt: Callable[[float], Tried]) -> list[Tried]:
    """Double the rate until it is not sustained, then halve the interval (in logarithms).

    A rate that fails is tried once more before it counts, so that one hiccup of the machine
    does not decide.
    """
    begin, tried = time.monotonic(), list[Tried]()
    good, bad, rate = 0.0, math.inf, search.start_per_s

    def may() -> bool:
        return len(tried) < MOST_RUNS and time.monotonic() - begin < search.limit_s

    while may() and good < search.most_per_s and bad > good * (1 + search.precision):
        tried.append(attempt(rate))
        if not tried[-1].sustained and may():
            tried.append(attempt(rate))
        if tried[-1].sustained:
            good = rate
        else:
            bad = rate
        rate = _next(good, bad, search)
        if rate < 1:
            break
    return tried


def _next(good: float, bad: float, search: Search) -> float:
    if math.isinf(bad):
        rate = min(2 * good, search.most_per_s)
    elif good:
        rate = math.sqrt(good * bad)
    else:
        rate = bad / 2
    return float(round(rate))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is measured, and where; ``like``: the experiment whose settings it has."""

    target: str
    runtime: str
    seed: int
    like: str | None = None


def measured(asked: Asked, bounds: Bounds, search: Search, tried: list[Tried]) -> Capacity:
    """Draw the result from the rates that were tried."""
    held = [each.rate_per_s for each in tried if each.sustained]
    best = max(held, default=None)
    failed = [t for t in tried if not t.sustained and t.rate_per_s not in held]
    lowest = min(failed, key=lambda each: each.rate_per_s, default=None)
    if lowest is None:
        limited_by = "nothing up to the highest rate asked for"
    elif lowest.target_at_fault:
        limited_by = lowest.why
    else:
        limited_by = f"not shown, the load or the run gave out first: {lowest.why}"
    return Capacity(
        target=asked.target,
        runtime=asked.runtime,
        seed=asked.seed,
        like=asked.like,
        sustained_per_s=best,
        failed_per_s=lowest.rate_per_s if lowest else None,
        limited_by=limited_by,
        bounds=bounds,
        search=search,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        tried=tuple(tried),
    )


def cell_at(
    target: Target, rate_per_s: float, hold_s: float, like: Experiment | None = None
) -> Cell:
    """Return the run that offers one rate without a fault; it has no budget of its own.

    Args:
        target: to load.
        rate_per_s: to offer.
        hold_s: for so long.
        like: whose first variant gives the settings, and all of the load but its rate;
            None for the target's own settings.
    """
    phases = (Phase(rate_per_s, hold_s),)
    name, load, settings = f"{rate_per_s:g}", Load(phases), {}
    if like is not None:
        load = replace(like.variants[0].load, phases=phases)
        settings = dict(like.variants[0].settings)
    experiment = Experiment(
        name="capacity",
        hypothesis=f"{rate_per_s:g} events/s are sustained.",
        variants=(),
        targets=(target.name,),
        predict=_nothing,
    )
    return Cell(experiment, Variant(name, load, (), settings), target, None)


def _nothing(seen: Observed) -> Predicted:
    return Predicted(basis=f"{seen.load.events} events, no fault")


def weigh(rate_per_s: float, result: Result, folder: Path, bounds: Bounds) -> Tried:
    """Return whether a run sustained its rate."""
    backlog_s = _backlog_s(folder)
    p99_ms = result.load.latency_p99_ms if result.load else None
    harness_fault = _not_the_targets(result, rate_per_s)
    why = harness_fault or _breach(result, bounds, p99_ms, backlog_s)
    return Tried(rate_per_s, not why, why, not harness_fault, result.run_id, p99_ms, backlog_s)


def _not_the_targets(result: Result, rate_per_s: float) -> str:
    """Return why a run says nothing about the target, or an empty string."""
    if result.verdict is Verdict.ERROR:
        return result.reason
    kept = result.load.rate_kept_per_s if result.load else None
    if kept is None:
        return "nothing was sent"
    clean = result.counts.sent == result.counts.acked
    if kept < rate_per_s * (1 - KEPT_WITHIN) and clean:
        return f"the load kept {kept:g} of {rate_per_s:g} events/s"
    return ""


def _breach(result: Result, bounds: Bounds, p99_ms: float | None, backlog_s: float | None) -> str:
    counts = result.counts
    bad = {
        "lost": counts.lost,
        "unresolved": counts.unresolved,
        "unknown": counts.unknown,
        "pending": counts.pending,
        "dead-lettered": counts.dead_lettered,
        "resurrected": counts.resurrected,
        "corrupted": counts.corrupted,
        "never sent": counts.unexpected,
    }
    for name, count in bad.items():
        if count:
            return f"{count} events {name}"
    if counts.refused > bounds.refused_ratio * counts.sent:
        return f"{counts.refused} of {counts.sent} events refused"
    if p99_ms is None or p99_ms > bounds.latency_p99_ms:
        return f"p99 latency {p99_ms} ms is above {bounds.latency_p99_ms:g} ms"
    if backlog_s is not None and backlog_s > bounds.backlog_s:
        return f"a backlog of {backlog_s:.1f} s was left, {bounds.backlog_s:g} s are allowed"
    return ""


def _backlog_s(folder: Path) -> float | None:
    """Return the seconds from the last event sent to the last row; None where unknown."""
    try:
        rows, sent = Collected.load(folder).rows, read_journals(folder).intents
    except (OSError, ValueError):
        return None
    if not len(rows) or not len(sent) or not np.any(rows["persisted_ns"]):
        return None
    return round(max(0, int(rows["persisted_ns"].max()) - int(sent["sent_ns"].max())) / 1e9, 3)
