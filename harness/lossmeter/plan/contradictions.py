"""Settings that contradict each other, and conditions that can never come true.

What is refused here would start servers, send its load, and then say nothing. Nothing is
refused that might come true: where the model does not know, it stays silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lossmeter.errors import UsageError
from lossmeter.experiment import Load, Trigger
from lossmeter.model import plural
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.refusal import Refusal

# With these and no others varied, the numbers in the target file describe the target.
_MODELLED = frozenset(
    {
        *("workers", "capacity", "handler_time_s", "push_timeout_s"),
        *("shutdown", "sleep_s", "drain_limit_s", "panic_endpoint", "acks"),
    }
)

# Workers take longer than their handler's time: the insert, and a machine that others use.
_SLOWER = 1.2
_INSERT_S = 0.01

# A queue is as long as the model says, give or take what comes while workers stall; those of
# a broker stall for longer, for example until their group has formed.
_STALL_S = 0.5
_BROKER_STALL_S = 10.0


@dataclass(frozen=True, slots=True)
class Never:
    """Why a condition cannot come true, and what would be right."""

    why: str
    right: str


def check_contradictions(cell: Cell, away: Mapping[str, str] = MappingProxyType({})) -> None:
    """Make sure that what is asked of a cell does not contradict itself.

    Raises:
        UsageError: it does; one sentence says what, where, and what would be right.
    """
    _check_dead_letters(cell, away)
    # Another fault, at the same time or earlier, may shape the queue as no model knows.
    alone = len(cell.variant.faults) == 1
    for planned in cell.variant.faults:
        trigger = planned.trigger
        where = f"{cell.name} on {cell.target.name}: fault {planned.fault}"
        if trigger.load == "before":
            continue
        if trigger.condition is None and trigger.step is None:
            _check_time(where, trigger, cell.variant.load)
        elif trigger.condition is not None:
            never = _never(cell, trigger, alone=alone)
            if never is not None:
                raise UsageError(
                    f"{where} waits for {trigger.condition}, which can never come true: "
                    f"{never.why}; {never.right}"
                )


def unsuited(cell: Cell) -> Refusal | None:
    """Return why a fault that waits for a full queue would wait in vain, or for another length."""
    target, capacity = cell.target, cell.numbers().get("capacity")
    for planned in cell.variant.faults:
        length = planned.parameters.get("length")
        if length is None:
            continue
        if not target.reports_queue:
            return Refusal(
                "no queue length",
                f"target {target.name} does not report its queue length, and {cell.name} waits "
                f"for {int(length):,} of its events; name its state under [http], or say in "
                "[queue] how it is read",
            )
        if capacity is not None and capacity != length:
            return Refusal(
                "fixed queue",
                f"the queue of target {target.name} holds {plural(int(capacity), 'event')}, and "
                f"{cell.name} waits for exactly {int(length):,}; map capacity under [settings], so "
                "that it can be set",
            )
    return None


def _check_time(where: str, trigger: Trigger, load: Load) -> None:
    if trigger.at_s >= load.duration_s:
        raise UsageError(
            f"{where} comes at {trigger.at_s:g} s, when the load of {load.duration_s:g} s is over; "
            "let it come earlier, or let the load last longer"
        )


# Dead letters.


def _check_dead_letters(cell: Cell, away: Mapping[str, str]) -> None:
    """Refuse a dead-letter queue that is lost together with what it is there for."""
    numbers, persisted = cell.numbers(), cell.target.persisted
    fault = away.get(persisted.database)
    in_database = "dead_letter_capacity" in numbers and persisted.dead_letter_file is None
    if fault is None or not in_database or numbers.get("retry_attempts", 0):
        return
    raise UsageError(
        f"{cell.name} on {cell.target.name}: fault {fault} takes the database away in which the "
        "dead letters are kept, and without a retry an event is given up while it is away; set "
        "retry_attempts, or keep the dead letters in a file"
    )


# Conditions.


def _never(cell: Cell, trigger: Trigger, *, alone: bool) -> Never | None:
    """Return why a trigger's condition cannot come true, or None when it may."""
    return next(
        (
            never
            for most, never in _bounds(cell, trigger, alone=alone)
            if not trigger.can_hold(most)
        ),
        None,
    )


def _bounds(cell: Cell, trigger: Trigger, *, alone: bool) -> Iterator[tuple[float, Never]]:
    """Return the most that a trigger's metric comes to, from the surest bound to the subtlest."""
    load, numbers = cell.variant.load, cell.numbers()
    if trigger.metric() == "queue_length" and "capacity" in numbers:
        most = numbers["capacity"]
        holds = f"the queue holds {plural(int(most), 'event')} at most"
        yield most, Never(holds, "raise capacity, or wait for fewer")
    yield (
        load.events,
        Never(
            f"only {plural(load.events, 'event is', 'events are')} sent",
            "send more, or wait for fewer",
        ),
    )
    yield (
        _offered(load, trigger.limit_s),
        Never(
            f"only {plural(round(_offered(load, trigger.limit_s)), 'event is', 'events are')} sent "
            f"until its limit of {trigger.limit_s:g} s",
            "raise limit_s or the rate, or wait for fewer",
        ),
    )
    if alone and _modelled(cell):
        yield from _modelled_bounds(cell, trigger)


def _modelled(cell: Cell) -> bool:
    """Return whether the queue model knows all that shapes this cell's queue."""
    variant, numbers = cell.variant, cell.numbers()
    own = {name for name in variant.settings if "." not in name}
    known = {"workers", "handler_time_s", "capacity"} <= set(numbers)
    before = any(planned.trigger.load == "before" for planned in variant.faults)
    return known and own <= _MODELLED and variant.instances == 1 and not before


def _modelled_bounds(cell: Cell, trigger: Trigger) -> Iterator[tuple[float, Never]]:
    numbers, metric = cell.numbers(), trigger.metric()
    load, burst = _let_through(cell.variant.load, numbers.get("rate_limit_per_s"))
    workers, handler_s = numbers["workers"], numbers["handler_time_s"]
    at_least_per_s = workers / (handler_s * _SLOWER + _INSERT_S)
    stall_s = _BROKER_STALL_S if cell.target.behaviour.queue_survives_crash else _STALL_S
    most = longest(load, at_least_per_s, trigger.limit_s)
    most += stall_s * max(phase.rate_per_s for phase in load.phases) + burst
    handled = (
        f"{plural(int(workers), 'worker')} of {handler_s:g} s an event can handle "
        f"{workers / handler_s if handler_s else at_least_per_s:g} events/s"
    )
    more = "raise the rate, or make the workers slower or fewer"
    if metric == "queue_length":
        yield most, Never(f"{handled}, so the queue comes to {most:,.0f} at most", more)
    if metric == "refused":
        yield from _no_refusal(cell, trigger, Never(f"{handled}, so the queue never fills", more))
    # What is written through is handled by the producers, as many as there are.
    if metric == "persisted" and handler_s and cell.choices().get("when_full") != "write-through":
        within_s = min(trigger.limit_s, load.duration_s + cell.target.http.timeout_s)
        done = workers / handler_s * within_s + workers
        yield done, Never(f"{handled}, which makes {done:.0f} until then", "wait for fewer")


def _let_through(load: Load, limit_per_s: float | None) -> tuple[Load, float]:
    """Return what a rate limit lets into the queue, and how many events beyond it at once."""
    if limit_per_s is None:
        return load, 0.0
    phases = [replace(p, rate_per_s=min(p.rate_per_s, limit_per_s)) for p in load.phases]
    return replace(load, phases=tuple(phases)), limit_per_s


def _no_refusal(cell: Cell, trigger: Trigger, never: Never) -> Iterator[tuple[float, Never]]:
    """Return that nothing is refused, where the queue does not fill in time."""
    load, numbers = cell.variant.load, cell.numbers()
    per_s = numbers["workers"] / (numbers["handler_time_s"] * _SLOWER + _INSERT_S)
    room = numbers["capacity"] - _STALL_S * max(phase.rate_per_s for phase in load.phases)
    # A rate limit refuses early, and what is written through is not refused at all.
    blocks = cell.choices().get("when_full", "block") in {"block", "reject"}
    if cell.target.behaviour.queue_survives_crash is not False or not blocks:
        return
    waits_s = numbers.get("push_timeout_s", 0.0)
    if longest(load, per_s, load.duration_s) < room:
        yield 0, never
    elif longest(load, per_s, trigger.limit_s - waits_s) < room:
        yield (
            0,
            Never(
                f"a push waits {waits_s:g} s for room, and that is never over within the limit of "
                f"{trigger.limit_s:g} s",
                "raise limit_s",
            ),
        )


def _offered(load: Load, within_s: float) -> float:
    """Return how many events are due within the first seconds of a load."""
    offered = 0.0
    for phase in load.phases:
        lasts_s = min(phase.duration_s, max(0.0, within_s))
        offered += phase.rate_per_s * lasts_s
        within_s -= lasts_s
    return offered


def longest(load: Load, service_per_s: float, within_s: float) -> float:
    """Return how long the queue comes to be, in events, where workers handle so many a second."""
    queued = most = 0.0
    for phase in load.phases:
        lasts_s = min(phase.duration_s, max(0.0, within_s))
        queued = max(0.0, queued + (phase.rate_per_s - service_per_s) * lasts_s)
        most = max(most, queued)
        within_s -= lasts_s
    return most
