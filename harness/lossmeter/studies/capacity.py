"""Finds the highest rate that a target sustains, by runs at rates that close in on it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from lossmeter.errors import HarnessError, UsageError
from lossmeter.experiment import Experiment, Load, Observed, Phase, Variant
from lossmeter.judge.account import open_account
from lossmeter.judge.doubts import PROBE_GAP_MAX_S
from lossmeter.model import Predicted, Verdict, plural
from lossmeter.plan.catalogue import Cell, fitted
from lossmeter.plan.target import Target
from lossmeter.record.facts import Facts
from lossmeter.record.files import write_text
from lossmeter.record.result import Result
from lossmeter.run.environment import commit, machine

Value = str | int | float
MOST_RUNS = 20
# Fewer events in a run show no rate.
LEAST_EVENTS = 5
# Events are due evenly; a load that falls behind by more than this measured itself.
KEPT_WITHIN = 0.01


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a rate counts as sustained.

    Attributes:
        latency_p99_ms: from the scheduled time to the ack.
        backlog_s: from the last event sent until the last row persisted: a queue that only
            stores what it cannot handle shows here.
        refused_ratio: refused / sent.
    """

    latency_p99_ms: float = 1000.0
    backlog_s: float = 2.0
    refused_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class RateSearch:
    """Where to look.

    Attributes:
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
        if self.start_per_s < self.least_per_s:
            raise UsageError(
                f"--start {self.start_per_s:g} sends fewer than {LEAST_EVENTS} events in "
                f"{self.hold_s:g} s; right is {self.least_per_s:g} or more, or a longer --hold"
            )
        if not 0 < self.precision < 1:
            raise UsageError(f"--precision {self.precision:g} is not between 0 and 1")

    @property
    def least_per_s(self) -> float:
        """Return the lowest rate that a run of ``hold_s`` can show."""
        return LEAST_EVENTS / self.hold_s


@dataclass(frozen=True, slots=True)
class Tried:
    """One rate that was tried.

    Attributes:
        why: the first bound that did not, or an empty string.
        target_at_fault: False when the load itself could not keep the rate, or the run said
            nothing; such a rate bounds the search, but not the target.
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
class Tuned:
    """What a target sustained with some settings, when those that suit it were looked for."""

    settings: Mapping[str, Value]
    sustained_per_s: float | None
    limited_by: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was found.

    Attributes:
        like: the experiment whose settings it had; None for the target's own.
        settings: what it was set to beside these.
        sustained_per_s: highest rate tried that was sustained; None when none was.
        failed_per_s: lowest rate tried above it that was not; None when none was.
        limited_by: what the target failed by there; or that the search or the load ended.
    """

    target: str
    runtime: str
    seed: int
    like: str | None
    settings: Mapping[str, Value]
    sustained_per_s: float | None
    failed_per_s: float | None
    limited_by: str
    bounds: Bounds
    search: RateSearch
    at: str
    machine: dict[str, str | int | float]
    tried: tuple[Tried, ...]
    tuning: tuple[Tuned, ...] = ()

    def save(self, path: Path) -> None:
        """Write it as JSON; a reader never sees half a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"schema": 1} | asdict(self), indent=2) + "\n")


def look(search: RateSearch, attempt: Callable[[float], Tried]) -> list[Tried]:
    """Double the rate until it is not sustained, or quarter it until it is, then close in.

    Closing in halves the interval, in logarithms.

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
        if rate in {good, bad}:
            break
    return tried


def _next(good: float, bad: float, search: RateSearch) -> float:
    if math.isinf(bad):
        rate = min(2 * good, search.most_per_s)
    elif good:
        rate = math.sqrt(good * bad)
    else:
        rate = max(bad / 4, search.least_per_s)
    # Four digits: finer than any precision that is worth its runs, and below 1/s too.
    return min(float(f"{rate:.4g}"), search.most_per_s)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is measured, and where.

    Attributes:
        like: the experiment whose settings it has.
        settings: what is set beside these.
    """

    target: str
    runtime: str
    seed: int
    like: str | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)


def measured(asked: Asked, bounds: Bounds, search: RateSearch, tried: list[Tried]) -> Capacity:
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
        settings=asked.settings,
        sustained_per_s=best,
        failed_per_s=lowest.rate_per_s if lowest else None,
        limited_by=limited_by,
        bounds=bounds,
        search=search,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine() | {"commit": commit() or "unknown"},
        tried=tuple(tried),
    )


def tune(
    choices: Mapping[str, Sequence[Value]], measure: Callable[[Mapping[str, Value]], Capacity]
) -> Capacity:
    """Return the capacity with the settings that suit a target best, and what each gave.

    One setting after the other is moved through its choices, all others at the best that is
    known of them; so it takes a sum of measurements and not their product. Of two that are
    equally good the earlier choice stands.
    """
    best: Capacity | None = None
    seen: list[Capacity] = []
    settings = {name: values[0] for name, values in choices.items()}
    for name, values in choices.items():
        for value in values if best is None else [v for v in values if v != settings[name]]:
            found = measure({**settings, name: value})
            seen.append(found)
            if best is None or (found.sustained_per_s or 0.0) > (best.sustained_per_s or 0.0):
                best = found
        settings = dict(best.settings) if best else settings
    if best is None:
        raise UsageError("nothing to choose from: give each setting at least one value")
    tuning = tuple(Tuned(each.settings, each.sustained_per_s, each.limited_by) for each in seen)
    return replace(best, tuning=tuning)


def cell_at(
    target: Target,
    rate_per_s: float,
    hold_s: float,
    like: Experiment | None = None,
    own: Mapping[str, Value] | None = None,
) -> Cell:
    """Return the run that offers one rate without a fault; it has no budget of its own.

    Args:
        target: to load.
        rate_per_s: to offer.
        hold_s: for so long.
        like: whose first variant gives the settings, and all of the load but its rate;
            None for the target's own settings.
        own: settings that come before all these.
    """
    phases = (Phase(rate_per_s, hold_s),)
    name, load, settings = f"{rate_per_s:g}", Load(phases), {}
    if like is not None:
        same = fitted(like.variants[0], target)
        load, settings = replace(same.load, phases=phases), dict(same.settings)
    experiment = Experiment(
        name="capacity",
        hypothesis=f"{rate_per_s:g} events/s are sustained.",
        variants=(),
        targets=(target.name,),
        predict=_nothing,
    )
    variant = Variant(name, load, (), {**settings, **(own or {})})
    return Cell(experiment, variant, target, None)


def _nothing(seen: Observed) -> Predicted:
    return Predicted(basis=f"{plural(seen.load.events, 'event')}, no fault")


def weigh(rate_per_s: float, result: Result, folder: Path, bounds: Bounds) -> Tried:
    """Return whether a run sustained its rate, and if not, whether the target is to blame."""
    backlog_s, undated = _backlog_s(folder)
    p99_ms = result.load.latency_p99_ms if result.load else None
    harness_fault = _not_the_targets(result, rate_per_s) or _starved(folder)
    if not harness_fault and undated:
        harness_fault = f"the backlog was not measured: {undated}"
    why = harness_fault or _breach(result, bounds, p99_ms, backlog_s)
    return Tried(rate_per_s, not why, why, not harness_fault, result.run_id, p99_ms, backlog_s)


def _starved(folder: Path) -> str:
    """Return by what the harness itself was kept from working, or an empty string.

    A lag of the load is no sign of it: a target that does not answer holds up the load too.
    """
    try:
        gap_s = Facts.load(folder).probe_gap_s or 0.0
    except UsageError:
        return ""
    if gap_s <= PROBE_GAP_MAX_S:
        return ""
    return f"the harness was starved of CPU for {gap_s:.2f} s"


def _not_the_targets(result: Result, rate_per_s: float) -> str:
    """Return why a run says nothing about the target, or an empty string."""
    if result.verdict is Verdict.ERROR:
        return result.reason
    kept = result.load.rate_kept_per_s if result.load else None
    if kept is None:
        return "nothing was sent"
    clean = result.counts.sent == result.counts.acked
    # Of few events one makes more of a share than the load may miss.
    allowed = max(KEPT_WITHIN, 1 / max(1, result.counts.sent))
    if kept < rate_per_s * (1 - allowed) and clean:
        return f"the load kept {kept:g} of {rate_per_s:g} events/s"
    return ""


def _breach(result: Result, bounds: Bounds, p99_ms: float | None, backlog_s: float | None) -> str:
    counts = result.counts
    bad = {
        "lost": counts.lost,
        "unresolved": counts.unresolved,
        "unknown": counts.unknown,
        "pending": counts.pending,
        "stranded": counts.stranded,
        "dead-lettered": counts.dead_lettered,
        "resurrected": counts.resurrected,
        "corrupted": counts.corrupted,
        "never sent": counts.unexpected,
    }
    for name, count in bad.items():
        if count:
            return plural(count, f"event {name}", f"events {name}")
    if counts.refused > bounds.refused_ratio * counts.sent:
        return f"{counts.refused:,} of {plural(counts.sent, 'event')} refused"
    if p99_ms is None or p99_ms > bounds.latency_p99_ms:
        return f"p99 latency {p99_ms} ms is above {bounds.latency_p99_ms:g} ms"
    if backlog_s is not None and backlog_s > bounds.backlog_s:
        return f"a backlog of {backlog_s:.1f} s was left, {bounds.backlog_s:g} s are allowed"
    return ""


def _backlog_s(folder: Path) -> tuple[float | None, str]:
    """Return the seconds from the last event sent to the last row; None where unknown.

    Also why, where rows bear times that cannot be true.
    """
    try:
        facts = Facts.load(folder)
        with open_account(folder, facts, collected=facts.collected) as account:
            persisted, sent = account.times.persisted_ns, account.times.sent_ns
            if persisted is None or persisted.last is None or sent.last is None:
                return None, account.ledger.dating.problem
            return round(max(0, persisted.last - sent.last) / 1e9, 3), ""
    except (HarnessError, OSError, ValueError):
        return None, ""
