"""Conducts the faults of a run: each at its moment, each healed, each with its evidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from harness import faults
from harness.errors import FaultError, HarnessError, UsageError
from harness.experiment import TOLD_METRICS, PlannedFault, Trigger
from harness.facts import Facts, FaultRecord
from harness.interrupts import held_back
from harness.narrator import Narrator
from harness.plugins import load
from harness.probe import HealthProbe
from harness.site import Delayed, Fault, Killable, Pausable, Sample, Site
from harness.steering import aim
from harness.target import Target

LOOK_EVERY_S = 0.25

# How often a condition is looked at where nobody else looks: the health probe's own pace.
POLL_S = 0.01

Counters = Mapping[str, Callable[[], int | None]]


def build_fault(planned: PlannedFault) -> Fault:
    """Return the fault that is planned, anew for this run.

    Raises:
        UsageError: there is no fault of that name, it does not take these parameters, or
            they contradict each other.
    """
    module = load(faults, planned.fault, "fault")
    try:
        fault: Fault = module.build(planned.parameters)
    except FaultError as error:
        raise UsageError(str(error)) from None
    return fault


@dataclass(slots=True)
class _Held:
    """A fault that has been injected, or may have been."""

    planned: PlannedFault
    fault: Fault
    record: FaultRecord
    healed: bool = False


@dataclass(frozen=True, slots=True)
class _Met:
    """A condition that was seen to hold; times by the wall clock, nanoseconds.

    Attributes:
        at_ns: when it was seen.
        before_ns: the look before began, at which it did not hold; None for the first.
    """

    at_ns: int
    before_ns: int | None

    @property
    def gap_s(self) -> float | None:
        """Return by how much earlier it may have come true, in seconds."""
        return None if self.before_ns is None else (self.at_ns - self.before_ns) / 1e9


class Conductor:
    """Injects and heals faults on one site, and records how it went in the run's facts.

    Args:
        site: the running target.
        probe: what conditions are read from.
        facts: gets a record of each fault.
        narrator: is told of each injection and healing.
        target: whether it tells its queue length and marks the steps of events; where it
            does not, faults come at their time.
        counters: what conditions read that the target need not tell, by its name; each
            returns the number just now, or None while it cannot be had.
    """

    def __init__(  # noqa: PLR0913 - what a fault is carried out with
        self,
        site: Site,
        probe: HealthProbe,
        facts: Facts,
        narrator: Narrator,
        *,
        target: Target,
        counters: Counters | None = None,
    ) -> None:
        self._site = site
        self._probe = probe
        self._facts = facts
        self._narrator = narrator
        self._tells_state = target.http.state is not None
        self._marks_stages = target.stages
        self._counters = counters or {}
        self._held: list[_Held] = []

    def inject(self, planned: PlannedFault) -> None:
        """Inject a fault at once."""
        self._inject(self._hold(planned))

    def carry_out(self, planned: PlannedFault, began: float, loading: Callable[[], bool]) -> None:
        """Wait for a fault's moment, then inject, hold and heal it.

        Args:
            planned: the fault.
            began: monotonic time of the first event.
            loading: returns False when the load is over; called while waiting.
        """
        held = self._hold(planned)
        if not self._moment(held, began, loading):
            return
        self._inject(held)
        if planned.hold_s is not None:
            time.sleep(planned.hold_s)
            self._heal(held)

    def heal_rest(self) -> None:
        """Heal every fault that is still held; a second call does nothing.

        Raises:
            HarnessError: one could not be healed; the others were all the same.
        """
        with ExitStack() as stack:
            for held in reversed(self._held):
                if held.record.injected_ns is not None:
                    stack.callback(self._heal, held)

    def _hold(self, planned: PlannedFault) -> _Held:
        trigger = planned.trigger
        record = FaultRecord(fault=planned.fault, condition=trigger.condition, step=trigger.step)
        held = _Held(planned, build_fault(planned), record)
        self._held.append(held)
        self._facts.faults.append(record)
        return held

    def _moment(self, held: _Held, began: float, loading: Callable[[], bool]) -> bool:
        """Wait for the fault's time or condition; False when it never came."""
        trigger = held.planned.trigger
        if trigger.step is not None and self._marks_stages:
            return self._aim(held, trigger.step, loading)
        # A target that tells nothing of itself is hit at the time instead.
        told = trigger.metric() in TOLD_METRICS
        if trigger.condition is None or (told and not self._tells_state):
            time.sleep(max(0.0, began + trigger.at_s - time.monotonic()))
            held.record.met_ns = time.time_ns()
            return True
        watch = _ByProbe(self._probe, trigger) if told else self._by_counter(trigger)
        while time.monotonic() - began < trigger.limit_s and loading():
            met = watch.look(LOOK_EVERY_S)
            if met is not None:
                held.record.met_ns, held.record.look_gap_s = met.at_ns, met.gap_s
                return True
        held.record.problem = (
            f"condition {trigger.condition} was not met while the load ran "
            f"(last seen {watch.last()})"
        )
        return False

    def _by_counter(self, trigger: Trigger) -> _ByCounter:
        return _ByCounter(self._counters[trigger.metric()], trigger)

    def _aim(self, held: _Held, step: str, loading: Callable[[], bool]) -> bool:
        """Freeze the target with an event at the step; False when none was found there."""
        trigger, record = held.planned.trigger, held.record
        found = aim(self._site, step, trigger.after, loading, trigger.limit_s)
        if found is None:
            record.problem = f"no event was found at step {step} while the load ran"
            return False
        record.met_ns = time.time_ns()
        record.aimed, record.looks = list(found.hit), found.looks
        if not _ends_it(held.fault):
            # What is frozen could not do what this fault asks of it.
            self._thaw()
        return True

    def _inject(self, held: _Held) -> None:
        held.record.injected_ns = time.time_ns()
        _note_load(held.record, self._probe.last())
        try:
            held.record.evidence += held.fault.inject(self._site)
        except HarnessError as error:
            held.record.problem = str(error)
            raise
        finally:
            if held.record.aimed:
                self._thaw()
        struck_ns = held.fault.struck_ns if isinstance(held.fault, Delayed) else None
        held.record.struck_ns = struck_ns
        held.record.struck = struck_ns is not None or not isinstance(held.fault, Delayed)
        if struck_ns is not None:
            samples = reversed(self._probe.samples())
            told = (s for s in samples if s.ok and s.answered_ns < struck_ns)
            _note_load(held.record, next(told, None))
        self._narrator.say(f"fault {held.planned.fault} injected: {_told(held.record)}")

    def _thaw(self) -> None:
        """Let the target go on, if it was frozen for the aim and still lives."""
        if isinstance(self._site, Pausable):
            self._site.resume()

    def _heal(self, held: _Held) -> None:
        if held.healed:
            return
        held.healed = True
        # Whoever interrupts now gets what he wants a moment later, and nothing half healed.
        with held_back():
            try:
                held.record.evidence += held.fault.heal(self._site)
            except HarnessError as error:
                held.record.problem = f"not healed: {error}"
                raise
            held.record.healed_ns = time.time_ns()
            self._narrator.say(f"fault {held.planned.fault} healed")


class _ByProbe:
    """Waits for a condition on what the target tells of itself."""

    def __init__(self, probe: HealthProbe, trigger: Trigger) -> None:
        self._probe = probe
        self._trigger = trigger

    def look(self, within_s: float) -> _Met | None:
        """Return the first new sample that meets the condition, or None when time is up."""
        met = self._probe.wait_for(self._meets, within_s)
        if met is None:
            return None
        before = (s.asked_ns for s in reversed(self._probe.samples()) if s.asked_ns < met.asked_ns)
        return _Met(met.answered_ns, next(before, None))

    def last(self) -> int | None:
        """Return the number last seen."""
        return _metric(self._probe.last(), self._trigger.metric())

    def _meets(self, sample: Sample) -> bool:
        value = _metric(sample, self._trigger.metric())
        return value is not None and self._trigger.holds(value)


class _ByCounter:
    """Waits for a condition on a number that is counted anew at each look."""

    def __init__(self, count: Callable[[], int | None], trigger: Trigger) -> None:
        self._count = count
        self._trigger = trigger
        self._last: int | None = None
        self._before_ns: int | None = None

    def look(self, within_s: float) -> _Met | None:
        """Look every ``POLL_S`` until the condition holds, or time is up."""
        deadline = time.monotonic() + within_s
        while (begin := time.monotonic()) < deadline:
            asked_ns = time.time_ns()
            self._last = self._count()
            if self._last is not None and self._trigger.holds(self._last):
                return _Met(time.time_ns(), self._before_ns)
            self._before_ns = asked_ns
            time.sleep(max(0.0, POLL_S - (time.monotonic() - begin)))
        return None

    def last(self) -> int | None:
        """Return the number last seen."""
        return self._last


def _ends_it(fault: Fault) -> bool:
    """Return whether a fault kills the target, which needs no doing of the target's own."""
    return any(Killable in need.__mro__ for need in fault.needs)


def _note_load(record: FaultRecord, last: Sample | None) -> None:
    """Note what the target held when it was hit, as it said last."""
    if last is not None and last.ok:
        record.queue_length, record.in_flight = last.queue_length, last.in_flight
        record.looked_ns = last.answered_ns


def _metric(sample: Sample | None, name: str) -> int | None:
    return getattr(sample, name) if sample is not None and name else None


def _told(record: FaultRecord) -> str:
    told = (
        "the target does not tell its queue length"
        if record.queue_length is None
        else f"queue {record.queue_length}, in hand {record.in_flight}"
    )
    if record.lag_s:
        told += f", {record.lag_s * 1000:.1f} ms after the condition"
    if record.look_gap_s is not None:
        told += f", which was looked at {record.look_gap_s * 1000:.1f} ms before too"
    return told
