"""What overload does: the queue in front of the workers, simulated event by event.

The mission's numbers follow from it: at 200 events/s against a capacity of 100/s a queue of
1000 is full after 10 s. From then on pushes wait for room in the order of their arrival, each
longer than the one before; that of 15 s is the first to wait for 5 s in vain, and is given so
at 20 s.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lossmeter.experiment import Load, Observed
from lossmeter.model import Expected, Predicted, plural
from lossmeter.plan.predict.queue import INSERT_S
from lossmeter.plan.predict.safe import figure

# What a look at a running queue, and a busy machine, may be late by.
LOOK_S = 0.3

Busy = Callable[[int, float], float]


@dataclass(frozen=True, slots=True)
class Intake:
    """How a dispatcher takes events in.

    Attributes:
        when_full: ``block``, ``reject``, ``rate-limit`` or ``write-through``.
        push_timeout_s: seconds that a push waits for room when it blocks.
        rate_limit_per_s: events let through per second; bursts of one second's worth.
    """

    workers: int
    handler_time_s: float
    capacity: int
    when_full: str = "block"
    push_timeout_s: float = 5.0
    rate_limit_per_s: float | None = None

    @property
    def waits_s(self) -> float:
        """Return how long a push waits for room."""
        return self.push_timeout_s if self.when_full == "block" else 0.0


@dataclass(slots=True)
class Flow:
    """What becomes of a load; times in seconds after the first event.

    Attributes:
        full_s: when the queue was full at first; None when it never was.
        first_refused_due_s: when the first event was due that was refused.
        first_refusal_s: when the first refusal was reported.
        through: events handled in their producer's own time.
        rows_s: when each event was persisted, in the order of their arrival.
    """

    full_s: float | None = None
    first_refused_due_s: float | None = None
    first_refusal_s: float | None = None
    refused: int = 0
    through: int = 0
    rows_s: list[float] = field(default_factory=list)

    @property
    def throughput_per_s(self) -> float | None:
        """Return the rows persisted per second between the first and the last."""
        if len(self.rows_s) < 2:
            return None
        span_s = max(self.rows_s) - min(self.rows_s)
        return (len(self.rows_s) - 1) / span_s if span_s else None

    def refuse(self, due_s: float, reported_s: float) -> None:
        """Count an event that is refused."""
        self.refused += 1
        if self.first_refused_due_s is None:
            self.first_refused_due_s = due_s
        if self.first_refusal_s is None or reported_s < self.first_refusal_s:
            self.first_refusal_s = reported_s


def arrivals(load: Load) -> list[float]:
    """Return when each event of a load is due, in seconds after its begin."""
    due_s, begin_s = [], 0.0
    for phase in load.phases:
        events = round(phase.rate_per_s * phase.duration_s)
        due_s += [begin_s + step / phase.rate_per_s for step in range(events)]
        begin_s += phase.duration_s
    return due_s


def simulate(due_s: Sequence[float], intake: Intake, busy: Busy | None = None) -> Flow:
    """Return what becomes of events.

    Args:
        due_s: when each comes, in order.
        intake: how they are taken in.
        busy: returns how long a worker takes for an event, by its place in ``due_s`` and
            the time at which it is taken; by default always the handler's time.
    """
    flow, bucket = Flow(), _Bucket(intake.rate_limit_per_s)
    free = [0.0] * intake.workers
    taken: list[float] = []
    entered = 0.0
    for place, at in enumerate(due_s):
        if not bucket.take(at):
            flow.refuse(at, at)
            continue
        # There is room when the event was taken that came a whole queue earlier.
        ahead = len(taken) - intake.capacity
        enters = max(at, entered, taken[ahead]) if ahead >= 0 else max(at, entered)
        if enters - at > intake.waits_s:
            if intake.when_full == "write-through":
                flow.through += 1
                flow.rows_s.append(at + intake.handler_time_s)
            else:
                flow.refuse(at, at + intake.waits_s)
            continue
        takes = max(enters, heapq.heappop(free))
        takes_s = intake.handler_time_s if busy is None else busy(place, takes)
        heapq.heappush(free, takes + takes_s)
        taken.append(takes)
        flow.rows_s.append(takes + takes_s)
        entered = enters
        if flow.full_s is None and ahead >= -1 and taken[ahead + 1] > enters:
            flow.full_s = enters
    return flow


class _Bucket:
    """A bucket of tokens; without a rate there is always one."""

    def __init__(self, rate_per_s: float | None) -> None:
        self._rate = rate_per_s
        self._most = max(1.0, rate_per_s or 1.0)
        self._tokens, self._at = self._most, 0.0

    def take(self, at: float) -> bool:
        if self._rate is None:
            return True
        self._tokens = min(self._most, self._tokens + (at - self._at) * self._rate)
        self._at = at
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def intake_of(seen: Observed) -> Intake | None:
    """Return how an observed target takes events in; None where its file does not tell."""
    numbers = seen.settings
    if not {"workers", "handler_time_s", "capacity"} <= set(numbers):
        return None
    return Intake(
        workers=int(numbers["workers"]),
        handler_time_s=numbers["handler_time_s"],
        capacity=int(numbers["capacity"]),
        when_full=seen.choices.get("when_full", "block"),
        push_timeout_s=numbers.get("push_timeout_s", 5.0),
        rate_limit_per_s=numbers.get("rate_limit_per_s"),
    )


def overload(seen: Observed) -> Predicted:
    """Predict when the queue is full, who is refused, and what goes through."""
    intake = intake_of(seen)
    if intake is None:
        return Predicted(basis="the target file does not tell workers, handler and capacity")
    due_s = arrivals(seen.load)
    flow = simulate(due_s, intake)
    slow = simulate(due_s, replace(intake, handler_time_s=intake.handler_time_s + INSERT_S))
    limit = intake.rate_limit_per_s
    return Predicted(
        lost=0,
        duplicated_max=0,
        basis=(
            f"{plural(len(due_s), 'event')} for {plural(intake.workers, 'worker')} of "
            f"{intake.handler_time_s:g} s behind a queue of {intake.capacity}, when full: "
            f"{intake.when_full}" + (f" {limit:g}/s" if limit else "")
        ),
        figures=tuple(_figures(flow, slow)),
    )


def _figures(flow: Flow, slow: Flow) -> list[Expected]:
    reason = f"an insert adds up to {INSERT_S * 1000:g} ms to each handler's time"
    late = f"{reason}, and a busy machine is late by up to {LOOK_S:g} s"
    figures = []
    for name, value, other in (
        ("struck_s", flow.full_s, slow.full_s),
        ("first_refused_due_s", flow.first_refused_due_s, slow.first_refused_due_s),
        ("first_refusal_s", flow.first_refusal_s, slow.first_refusal_s),
    ):
        if value is not None and other is not None:
            tolerance = abs(value - other) + LOOK_S
            figures.append(figure(name, value, tolerance, 2, late))
    apart = abs(flow.refused - slow.refused)
    # Of those at the brink some are let through, by the chance of a few milliseconds.
    some = round(0.05 * flow.refused) if flow.refused else 0
    figures.append(Expected("refused", flow.refused, apart + some, reason))
    value, other = flow.throughput_per_s, slow.throughput_per_s
    if value is not None and other is not None:
        tolerance = abs(value - other) + 0.05 * value
        figures.append(figure("throughput_per_s", value, tolerance, 2, reason))
    return figures
