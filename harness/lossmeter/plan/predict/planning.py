"""Answers for a dispatcher that is only planned, by the model that predicts runs.

The numbers are made into what a run would have observed, and each answer is a prediction of
that run. What must be enough is rounded up, what there is and what time is left down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lossmeter.experiment import MAX_LOAD_S, Observed, steady
from lossmeter.model import Expected, Predicted
from lossmeter.plan.predict.crash import at_kill, crash
from lossmeter.plan.predict.overload import overload
from lossmeter.plan.predict.queue import INSERT_S, Dispatcher, recommended_backend, require
from lossmeter.plan.predict.safe import Side, side_of
from lossmeter.plan.predict.shutdown import PlannedStop, stop

# A load is simulated event by event; this many take a few seconds.
MOST_EVENTS = 1_000_000
# How long the load lasts beyond the first refusal.
BEYOND_S = 2.0


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """One answer.

    Attributes:
        value: a figure in the unit that ``unit`` names, or words; None for never.
        unit: as measures end in: ``_s``, ``_per_s``, or empty for events.
        tolerance: by how much a run may differ, in the same unit.
        safe: to which side it is rounded, so that who relies on what is shown is safe.
    """

    question: str
    value: float | str | None
    unit: str = ""
    tolerance: float = 0
    safe: Side = "up"


@dataclass(frozen=True, slots=True)
class Planned:
    """A dispatcher under a load, with what is queued when it is asked to stop, in events."""

    dispatcher: Dispatcher
    queued: int

    def __post_init__(self) -> None:
        most = self.dispatcher.capacity
        require(0 <= self.queued <= most, "queued", self.queued, f"0 to {most}")

    def seen(self, queued: int | None = None, load_s: float | None = None) -> Observed:
        """Return what a run of it would have observed at the moment of its fault."""
        of, queued = self.dispatcher, self.queued if queued is None else queued
        # Below capacity only some workers are busy, by Little's law.
        busy = of.workers if queued else min(of.workers, of.workers_for(of.rate_per_s))
        return Observed(
            load=steady(of.rate_per_s, load_s or self._at_most(1.0)),
            settings={
                "workers": of.workers,
                "handler_time_s": of.handler_time_s,
                "capacity": of.capacity,
                "push_timeout_s": of.push_timeout_s,
                "sleep_s": of.grace_s,
            },
            queue_survives_crash=False,
            in_hand_survives_crash=False,
            queue_length=queued,
            in_flight=busy,
            blind_s=0.0,
            choices={"shutdown": "sleep"},
        )

    def crash(
        self, queued: int | None = None, *, queue: bool = False, hands: bool = False
    ) -> Predicted:
        """Predict a kill; the queue, and what workers hold, may survive it."""
        return crash(at_kill(self.seen(queued)), queue, hands)

    def asked_to_stop(self) -> PlannedStop:
        """Return the stop of one that works on for the whole of its grace."""
        of = self.dispatcher
        return PlannedStop(at_kill(self.seen()), of, "sleep", of.grace_s)

    def stop(self) -> Predicted:
        """Predict a stop by SIGTERM."""
        return stop(self.asked_to_stop(), queue_survives=False, in_hand_survives=False)

    def overload(self) -> Predicted:
        """Predict a load that lasts until after the first refusal, if there is one."""
        return overload(self.seen(load_s=self._load_s()))

    def _load_s(self) -> float:
        of = self.dispatcher
        growth = of.backlog_growth_per_s
        if not growth:
            return self._at_most(1.0)
        full_s = of.capacity / growth
        refused_s = full_s + of.push_timeout_s * (1 + of.service_rate_per_s / growth)
        return self._at_most(1.05 * refused_s + BEYOND_S)

    def _at_most(self, load_s: float) -> float:
        return min(load_s, MAX_LOAD_S, MOST_EVENTS / self.dispatcher.rate_per_s)


def answers(planned: Planned) -> list[PlanAnswer]:
    """Return all answers, in the order in which they are read."""
    return [*_load(planned), *_crashes(planned), *_stop(planned)]


def _load(planned: Planned) -> Iterator[PlanAnswer]:
    of = planned.dispatcher
    slow = replace(of, handler_time_s=of.handler_time_s + INSERT_S)
    insert = f"{INSERT_S * 1000:g} ms for each insert"
    yield PlanAnswer("capacity of the workers", of.service_rate_per_s, "_per_s", safe="down")
    yield PlanAnswer("workers that keep up with the rate", of.workers_for(of.rate_per_s))
    yield PlanAnswer(f"the same, with {insert}", slow.workers_for(of.rate_per_s))
    yield PlanAnswer("throughput in the long run", of.throughput_per_s, "_per_s", safe="down")
    yield PlanAnswer("backlog grows by", of.backlog_growth_per_s, "_per_s")
    figures = {figure.name: figure for figure in planned.overload().figures}
    for name, question in (
        ("struck_s", "queue is full after"),
        ("first_refused_due_s", "first event that is refused is due after"),
        ("first_refusal_s", "its refusal comes after"),
    ):
        yield _moment(question, figures.get(name), planned)
    if not of.backlog_growth_per_s and slow.backlog_growth_per_s:
        filled = Planned(slow, planned.queued).overload().figures
        full = next((figure for figure in filled if figure.name == "struck_s"), None)
        yield _moment(f"queue is full after, with {insert}", full, Planned(slow, planned.queued))
    yield PlanAnswer("refused from then on", of.backlog_growth_per_s, "_per_s")


def _moment(question: str, figure: Expected | None, planned: Planned) -> PlanAnswer:
    if figure is not None:
        return PlanAnswer(question, figure.value, "_s", figure.tolerance, side_of(figure.name))
    load_s = planned._load_s()  # noqa: SLF001 - of this module
    grows = planned.dispatcher.backlog_growth_per_s > 0
    return PlanAnswer(question, f"not within {math.floor(load_s):,} s" if grows else None)


def _crashes(planned: Planned) -> Iterator[PlanAnswer]:
    capacity, queued = planned.dispatcher.capacity, planned.queued
    for question, predicted in (
        (f"a crash loses, with {queued:,} queued in memory", planned.crash()),
        ("a crash loses at worst, queue in memory", planned.crash(capacity)),
        ("a crash loses, plain Redis list", planned.crash(queue=True)),
        ("a crash loses, Redis stream or Kafka", planned.crash(queue=True, hands=True)),
    ):
        yield PlanAnswer(question, predicted.lost, tolerance=predicted.lost_tolerance)
    again = planned.crash(queue=True, hands=True).duplicated_max
    yield PlanAnswer("and duplicates at most", again)


def _stop(planned: Planned) -> Iterator[PlanAnswer]:
    of, predicted = planned.dispatcher, planned.stop()
    with_ = f"with {planned.queued:,} queued"
    yield PlanAnswer(
        f"a stop with {of.grace_s:g} s of grace loses, {with_}",
        predicted.lost,
        tolerance=predicted.lost_tolerance,
    )
    yield PlanAnswer(f"grace that loses nothing, {with_}", enough_s(planned), "_s")
    yield PlanAnswer("recommended for this rate", recommended_backend(of.rate_per_s))


def enough_s(planned: Planned) -> float:
    """Return a grace in which all is done that is queued and in hand, rounded up.

    Workers finish in turns, each as long as a handler and an insert; one more for what each
    had just begun.
    """
    asked = planned.asked_to_stop()
    turns = math.ceil(asked.most_held / planned.dispatcher.workers) + 1
    exact_s = turns * (planned.dispatcher.handler_time_s + INSERT_S)
    require(math.isfinite(exact_s), "grace that is enough", exact_s, "finite")
    # To the digit that is shown, so that what is shown is enough.
    step_s = 0.01 if exact_s < 9.9 else 0.1 if exact_s < 99 else 1
    return round(math.ceil(round(exact_s / step_s, 6)) * step_s, 2)
