"""What a stop and a rolling update lose, refuse, and for how long nobody serves.

After SIGTERM a dispatcher takes no more and works on: not at all, for a fixed time, or until
it is empty; SIGKILL cuts it short when the grace is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lossmeter.experiment import Observed
from lossmeter.model import Expected, Predicted, plural
from lossmeter.plan.predict.crash import AtKill, at_kill, crash
from lossmeter.plan.predict.queue import INSERT_S, Dispatcher
from lossmeter.plan.predict.safe import figure

# A drain looks once a second whether it is over.
POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class PlannedStop:
    """A stop as it is planned, of a dispatcher as it was last seen.

    Attributes:
        shutdown: what it does after SIGTERM: ``exit``, ``sleep`` or ``drain``.
        works_s: how long it would work on if it were let: sleep, or limit of the drain.
        pre_stop_s: seconds before SIGTERM in which events still come.
        start_s: seconds that it took to start at first; None when not known.
        restart_s: how much longer than that a restart may take where it runs.
    """

    at: AtKill
    dispatcher: Dispatcher
    shutdown: str
    works_s: float
    pre_stop_s: float = 0.0
    start_s: float | None = None
    restart_s: float = 0.0

    @property
    def held(self) -> int:
        """Return what it holds at SIGTERM."""
        grown = self.pre_stop_s * (self.dispatcher.rate_per_s - self.dispatcher.service_rate_per_s)
        queued = max(0.0, (self.at.queue_length or 0) + grown)
        return min(round(queued), self.dispatcher.capacity) + (self.at.in_flight or 0)

    @property
    def most_held(self) -> int:
        """Return what it may hold at SIGTERM, with what came after the last look."""
        return self.held + _passing(self)

    @property
    def working_s(self) -> float:
        """Return how long it works on after SIGTERM, at most."""
        return 0.0 if self.shutdown == "exit" else min(self.works_s, self.dispatcher.grace_s)

    @property
    def ends_after_s(self) -> float:
        """Return when it has ended, in seconds after SIGTERM."""
        if self.shutdown != "drain":
            return self.working_s
        looks = math.ceil(self.dispatcher.drain_s(self.held) / POLL_S) * POLL_S
        return min(self.working_s, looks)


def stop(
    asked: PlannedStop, queue_survives: bool | None, in_hand_survives: bool | None
) -> Predicted:
    """Predict what a stop loses and repeats, and how long nobody serves."""
    if queue_survives is None or in_hand_survives is None or asked.at.queue_length is None:
        return crash(asked.at, queue_survives, in_hand_survives)
    predicted = _loss(asked, queue_survives, in_hand_survives)
    return replace(predicted, figures=_outage(asked))


def _loss(asked: PlannedStop, queue_survives: bool, in_hand_survives: bool) -> Predicted:
    hands = asked.at.workers or asked.at.in_flight or 0
    drains = asked.shutdown == "drain" and asked.working_s > 0
    if queue_survives and (in_hand_survives or drains):
        again = 0 if drains else hands
        basis = f"the queue outlives the process; up to {again} in hand at its end are duplicated"
        return Predicted(lost=0, duplicated_max=again, basis=basis)
    if queue_survives:
        return crash(asked.at, queue_survives, in_hand_survives)
    most, least = _bounds(asked, hands)
    lost = max(0, asked.held - _done(asked, asked.dispatcher.handler_time_s))
    return Predicted(
        lost=lost,
        lost_tolerance=max(most - lost, lost - least),
        tolerance_reason=(
            f"an insert adds up to {INSERT_S * 1000:g} ms to each handler's time, the workers hold "
            f"{hands}, and up to {plural(_passing(asked), 'event')} came in after the last look"
        ),
        duplicated_max=0,
        basis=(
            f"{asked.held:,} held at SIGTERM, {asked.working_s:g} s to work on at "
            f"{asked.dispatcher.service_rate_per_s:g} events/s"
        ),
    )


def _bounds(asked: PlannedStop, hands: int) -> tuple[int, int]:
    """Return the most and the least that may be lost."""
    slow = _done(asked, asked.dispatcher.handler_time_s + INSERT_S)
    fast = _done(asked, asked.dispatcher.handler_time_s)
    most = max(0, asked.most_held - slow)
    least = max(0, asked.held - _passing(asked) - hands - fast)
    return most, least


def _done(asked: PlannedStop, each_s: float) -> int:
    """Return how many events are finished after SIGTERM, at ``each_s`` per worker."""
    done = asked.working_s * asked.dispatcher.workers / each_s
    # A product such as 5800 × 0.005 falls short of 29 by its last bit.
    return math.floor(round(min(done, asked.most_held), 9))


def _passing(asked: PlannedStop) -> int:
    return asked.at.passing


def _outage(asked: PlannedStop) -> tuple[Expected, ...]:
    if asked.start_s is None:
        return ()
    slow_s = asked.ends_after_s * INSERT_S / asked.dispatcher.handler_time_s
    late_s = POLL_S + slow_s if asked.shutdown == "drain" else 0.0
    tolerance_s = asked.restart_s + asked.start_s + late_s
    reason = (
        "a restart may take twice as long as the first start, and "
        f"{asked.restart_s:g} s more, as the runtime makes it anew or the machine is busy"
    )
    if late_s:
        reason += f"; a drain may be late by {late_s:.1f} s, for it looks once a second"
    return (figure("outage_s", asked.ends_after_s + asked.start_s, tolerance_s, 3, reason),)


def rollout(
    first: PlannedStop, instances: int, queue_survives: bool, in_hand_survives: bool
) -> Predicted:
    """Predict what a rolling update in place loses.

    An instance is out of service before its preStop, so while that lasts it only gets emptier.

    Args:
        first: the stop of the first instance, its numbers those of all together: what they
            hold, and what is offered to them.
        instances: how many there are; the others share what one of them is not offered.
        queue_survives: what is queued outlives a process.
        in_hand_survives: so does what workers hold.
    """
    lost = tolerance = 0
    growth, done = _growth_per_s(first, instances), _done_before(first)
    for index, (one, _) in enumerate(_turns(first, instances, queue_survives)):
        predicted = _loss(one, queue_survives, in_hand_survives)
        lost += predicted.lost or 0
        tolerance += predicted.lost_tolerance
        # An insert in each event's time leaves more of the queue behind in its preStop, too.
        slow = done * INSERT_S / (first.dispatcher.handler_time_s + INSERT_S)
        tolerance += math.ceil(slow) if predicted.lost else 0
        # What was not served while it was away grew by as much as the restart took longer.
        tolerance += math.ceil(max(0.0, growth) * first.restart_s) if index + 1 < instances else 0
    return Predicted(
        lost=lost,
        lost_tolerance=tolerance if lost or not queue_survives else 0,
        tolerance_reason="as for the stop of each, added up; and a restart may take longer",
        duplicated_max=0 if first.shutdown == "drain" else (first.at.workers or 0) * instances,
        basis=(
            f"{plural(instances, 'instance')} stopped in turn, {first.at.queue_length:,} queued in "
            "all"
        ),
        figures=(
            Expected(
                "outage_s", 0.0, 0.5, "the other instance serves; a busy machine may pause a while"
            ),
        ),
    )


def rollout_s(first: PlannedStop, instances: int, queue_survives: bool) -> float:
    """Return how long a rolling update takes, one instance after the other; as ``rollout``."""
    return sum(away_s for _, away_s in _turns(first, instances, queue_survives))


def _turns(
    first: PlannedStop, instances: int, queue_survives: bool
) -> list[tuple[PlannedStop, float]]:
    """Return the stop of each instance in its turn, and the seconds for which it is away."""
    turns = []
    held = [(first.at.queue_length or 0) / instances] * instances
    hands = (first.at.in_flight or 0) // instances
    for index in range(instances):
        queued = round(max(0.0, held[index] - _done_before(first)))
        at = replace(first.at, queue_length=queued, in_flight=hands)
        one = replace(first, at=at, pre_stop_s=0.0)
        ends_after_s = one.ends_after_s
        if queue_survives and first.shutdown == "drain":
            # It leaves the queue to the others, and finishes what is in hand.
            ends_after_s = min(one.working_s, POLL_S)
        away_s = first.pre_stop_s + ends_after_s + (first.start_s or 0.0)
        turns.append((one, away_s))
        grown = _growth_per_s(first, instances) * away_s
        held = [min(first.dispatcher.capacity, max(0.0, each + grown)) for each in held]
    return turns


def _growth_per_s(first: PlannedStop, instances: int) -> float:
    """Return how fast the queue of an instance grows while another one is away."""
    others = max(1, instances - 1)
    return first.dispatcher.rate_per_s / others - first.dispatcher.service_rate_per_s


def _done_before(first: PlannedStop) -> float:
    """Return how many events are done in a preStop."""
    return first.pre_stop_s * first.dispatcher.service_rate_per_s


def stop_of(seen: Observed, grace_s: float, pre_stop_s: float = 0.0) -> PlannedStop | None:
    """Return the stop that was observed; None where the target's numbers are not known."""
    numbers, shutdown = seen.settings, seen.choices.get("shutdown")
    limit = numbers.get("drain_limit_s" if shutdown == "drain" else "sleep_s", 0.0)
    if shutdown is None or not {"workers", "capacity"} <= set(numbers):
        return None
    if not numbers.get("handler_time_s"):
        return None
    dispatcher = Dispatcher(
        rate_per_s=seen.rate_per_s,
        workers=int(numbers["workers"]),
        handler_time_s=numbers["handler_time_s"],
        capacity=int(numbers["capacity"]),
        grace_s=grace_s - pre_stop_s,
    )
    at = at_kill(seen)
    return PlannedStop(at, dispatcher, shutdown, limit, pre_stop_s, seen.start_s, seen.restart_s)
