"""Conducts the faults of a run: each on a clock of its own, each healed, each with evidence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lossmeter.errors import HarnessError
from lossmeter.experiment import REPORTED_METRICS, PlannedFault
from lossmeter.faults._fault import Chosen, Fault, choose, clash
from lossmeter.plan.target import Target
from lossmeter.record.facts import NOT_HEALED, Facts, FaultRecord
from lossmeter.run.aim import aim
from lossmeter.run.conditions import ByCounter, ByProbe
from lossmeter.run.narrator import Narrator
from lossmeter.run.probe import HealthProbe
from lossmeter.world.interrupts import abandon, held_back
from lossmeter.world.site import Pausable, Sample, Site

LOOK_EVERY_S = 0.25

# What an injection that was abandoned gets to return from a call that cannot be interrupted.
# After that it is left alone: whenever the call returns, the thread ends.
ABANDONED_WITHIN_S = 3.0

Counters = Mapping[str, Callable[[], int | None]]


class _State(StrEnum):
    WAITING = "waits"
    AIMING = "aims"
    INJECTING = "is being injected"
    HOLDING = "holds"
    HEALING = "is being healed"
    OVER = "over"


# While in one of these, nothing else may strike what the fault strikes.
_ACTIVE = frozenset({_State.AIMING, _State.INJECTING, _State.HOLDING, _State.HEALING})


@dataclass(slots=True)
class _Carried:
    """One fault on its way from its plan to its healing."""

    planned: PlannedFault
    chosen: Chosen
    record: FaultRecord
    state: _State = _State.WAITING
    since: float = field(default_factory=time.monotonic)
    fault: Fault[Any] | None = None
    thread: threading.Thread | None = None
    error: BaseException | None = None
    healed: bool = False

    @classmethod
    def of(cls, planned: PlannedFault) -> _Carried:
        trigger = planned.trigger
        record = FaultRecord(fault=planned.fault, condition=trigger.condition, step=trigger.step)
        return cls(planned, choose(planned.fault, planned.parameters), record)

    @property
    def name(self) -> str:
        return self.planned.fault


class Conductor:
    """Injects and heals the faults of a run on one site, and records them in its facts.

    Each fault of the load has a thread: faults may hold at the same time and are healed in
    any order. One whose moment comes while another holds what it strikes is not injected,
    which its record says.

    Args:
        site: the running target.
        probe: what conditions are read from.
        facts: gets a record of each fault, in the end by the time of injection.
        narrator: is called at each injection and healing, from any thread.
        planned: the faults.
        target: its servers, and whether it reports its queue length and marks the steps of
            events; where it does not, faults come at their time.
        counters: what conditions read that the target need not report, by its name; each
            returns the number just now, or None while it cannot be had.
    """

    def __init__(  # noqa: PLR0913 - what faults are carried out with
        self,
        site: Site,
        probe: HealthProbe,
        facts: Facts,
        narrator: Narrator,
        planned: Sequence[PlannedFault],
        *,
        target: Target,
        counters: Counters | None = None,
    ) -> None:
        self._site = site
        self._probe = probe
        self._facts = facts
        self._narrator = narrator
        self._target = target
        self._counters = counters or {}
        self._counting = threading.Lock()
        self._all = [_Carried.of(each) for each in planned]
        self._facts.faults += [each.record for each in self._all]
        # Guards all states, and that nothing is injected or healed here after the end began.
        self._changing = threading.Lock()
        self._ending = threading.Event()
        self._load_over = threading.Event()
        self._began = time.monotonic()

    # What the run does.

    def inject_before_load(self) -> None:
        """Inject at once what is to hold from before the load on."""
        for carried in self._all:
            if carried.planned.trigger.load == "before" and self._claim(carried):
                self._inject(carried)

    def begin(self, began: float) -> None:
        """Begin to wait for the moment of each fault of the load."""
        self._began = began
        seen = len(self._probe.samples())
        for carried in self._all:
            if carried.planned.trigger.load == "during":
                carried.thread = threading.Thread(
                    target=self._carry_out,
                    args=(carried, seen),
                    name=f"fault-{carried.name}",
                    daemon=True,
                )
                carried.thread.start()

    def load_is_over(self) -> None:
        """Wait for no condition any more; what holds is healed when its time has come."""
        self._load_over.set()

    def busy(self) -> bool:
        """Return whether a fault still waits, or has a time to be healed at.

        Raises:
            BaseException: what went wrong with a fault, once.
        """
        for carried in self._all:
            if (error := carried.error) is not None:
                carried.error = None
                raise error
        return any(each.thread is not None and each.thread.is_alive() for each in self._all)

    def moving(self) -> bool:
        """Return whether a fault is being injected or healed, so that anything may be down."""
        moving = {_State.INJECTING, _State.HEALING}
        return any(each.state in moving for each in self._all)

    def striking(self) -> bool:
        """Return whether a fault is active, or has not come to its moment yet."""
        return any(each.state is not _State.OVER for each in self._all)

    def now(self) -> tuple[str, ...]:
        """Return what each fault that is not over does, in a few words."""
        return tuple(self._doing(each) for each in self._all if each.state is not _State.OVER)

    def last(self) -> tuple[PlannedFault, FaultRecord] | None:
        """Return the fault that was injected last, and its record."""
        injected = [each for each in self._all if each.record.injected_ns is not None]
        latest = max(injected, key=lambda each: each.record.injected_ns or 0, default=None)
        return None if latest is None else (latest.planned, latest.record)

    def heal_rest(self) -> None:
        """Abandon what waits or is being injected, and heal whatever is still held.

        A second call does nothing.

        Raises:
            HarnessError: one could not be healed; the others were all the same.
        """
        with held_back():
            self._end_threads()
            with ExitStack() as stack:
                for carried in sorted(self._all, key=lambda each: each.record.injected_ns or 0):
                    if carried.fault is not None:
                        stack.callback(self._heal, carried)
                stack.callback(self._facts.faults.sort, key=_moment_of)

    def _end_threads(self) -> None:
        if self._ending.is_set():
            return
        with self._changing:
            self._ending.set()
            for carried in self._all:
                if carried.thread is not None and carried.state is _State.INJECTING:
                    abandon(carried.thread)
        for carried in self._all:
            if carried.thread is not None:
                heals = carried.state is _State.HEALING
                carried.thread.join(None if heals else ABANDONED_WITHIN_S)

    def _doing(self, carried: _Carried) -> str:
        trigger, hold_s = carried.planned.trigger, carried.planned.hold_s
        for_s = time.monotonic() - carried.since
        match carried.state:
            case _State.WAITING if trigger.load == "during" and not self._by_time(carried):
                return f"{carried.name} waits for {trigger.condition}"
            case _State.WAITING:
                left_s = max(0.0, self._began + trigger.at_s - time.monotonic())
                return f"{carried.name} comes in {left_s:.0f} s"
            case _State.HOLDING if hold_s:
                return f"{carried.name} holds for {max(0.0, hold_s - for_s):.0f} s more"
            case _State.AIMING:
                return f"{carried.name} aims at {trigger.step}"
            case state:
                return f"{carried.name} {state} for {for_s:.0f} s"

    # The thread of one fault.

    def _carry_out(self, carried: _Carried, seen: int) -> None:
        """Wait for a fault's moment, then inject, hold and heal it."""
        try:
            if not self._moment(carried, seen) or not self._claim(carried):
                carried.state = _State.OVER
                if carried.record.aimed:
                    self._thaw()
                return
            self._inject(carried)
            hold_s = carried.planned.hold_s
            if hold_s is not None and not self._ending.wait(hold_s):
                with self._changing:
                    if self._ending.is_set():
                        return
                    self._enter(carried, _State.HEALING)
                self._heal(carried)
        except SystemExit:
            carried.record.problem = "the run was over while it was injected"
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            carried.error = error

    def _by_time(self, carried: _Carried) -> bool:
        """Return whether a fault comes at its time, as there is nothing else to go by."""
        trigger = carried.planned.trigger
        if trigger.step is not None:
            return not self._target.stages
        reported = trigger.metric() in REPORTED_METRICS
        return trigger.condition is None or (reported and not self._target.reports_queue)

    def _moment(self, carried: _Carried, seen: int) -> bool:
        """Wait for the fault's time or condition; False when it never came."""
        trigger, record = carried.planned.trigger, carried.record
        if self._by_time(carried):
            if self._ending.wait(max(0.0, self._began + trigger.at_s - time.monotonic())):
                return False
            record.met_ns = time.time_ns()
            return True
        if trigger.step is not None:
            return self._aim(carried, trigger.step)
        watch = (
            ByProbe(self._probe, trigger, seen)
            if trigger.metric() in REPORTED_METRICS
            else ByCounter(lambda: self._count(trigger.metric()), trigger)
        )
        while time.monotonic() - self._began < trigger.limit_s and self._waits():
            met = watch.look(LOOK_EVERY_S)
            if met is not None:
                record.met_ns, record.look_gap_s = met.at_ns, met.gap_s
                return True
        record.problem = (
            f"condition {trigger.condition} was not met while the load ran "
            f"(last seen {watch.last()})"
        )
        return False

    def _waits(self) -> bool:
        return not self._load_over.is_set() and not self._ending.is_set()

    def _count(self, metric: str) -> int | None:
        with self._counting:
            return self._counters[metric]()

    def _aim(self, carried: _Carried, step: str) -> bool:
        """Freeze the target with an event at the step; False when none was seen there."""
        trigger, record = carried.planned.trigger, carried.record
        if not self._claim(carried, _State.AIMING):
            return False
        try:
            aimed = aim(self._site, step, trigger.after, self._waits, trigger.limit_s)
        except BaseException:
            self._thaw()
            raise
        if aimed is None:
            record.problem = f"no event was seen at step {step} while the load ran"
            return False
        record.met_ns = time.time_ns()
        record.aimed, record.looks = list(aimed.hit), aimed.looks
        if not carried.chosen.kind.kills:
            # What is frozen could not do what this fault asks of it.
            self._thaw()
        return True

    def _claim(self, carried: _Carried, state: _State = _State.INJECTING) -> bool:
        """Take what a fault strikes for it alone; False when another has it, or all is over."""
        with self._changing:
            if self._ending.is_set():
                return False
            for other in self._all:
                if other is carried or other.state not in _ACTIVE:
                    continue
                what = clash(carried.chosen, other.chosen, self._target.services)
                if what is not None:
                    carried.record.problem = (
                        f"when its moment came, fault {other.name} held {what}, and two faults "
                        "cannot strike the same thing at once"
                    )
                    return False
            self._enter(carried, state)
            return True

    def _enter(self, carried: _Carried, state: _State) -> None:
        carried.state, carried.since = state, time.monotonic()

    def _inject(self, carried: _Carried) -> None:
        record, chosen = carried.record, carried.chosen
        fault = carried.fault = chosen.build()
        record.injected_ns = time.time_ns()
        _note_load(record, self._probe.last())
        try:
            record.evidence += fault.inject(self._site)
        except HarnessError as error:
            record.problem = str(error)
            raise
        finally:
            if record.aimed:
                self._thaw()
            with self._changing:
                self._enter(carried, _State.HOLDING)
        record.struck_ns, record.survived = fault.struck_ns, fault.survived
        record.gone_ns = fault.gone_ns
        record.struck = fault.struck_ns is not None or not chosen.kind.delayed
        if fault.struck_ns is not None:
            samples = reversed(self._probe.samples())
            earlier = (s for s in samples if s.ok and s.answered_ns < fault.struck_ns)
            _note_load(record, next(earlier, None))
        self._narrator.say(f"fault {carried.name} injected: {_in_words(record)}")

    def _thaw(self) -> None:
        """Let the target go on, if it was frozen for the aim and still lives."""
        if isinstance(self._site, Pausable):
            self._site.resume()

    def _heal(self, carried: _Carried) -> None:
        if carried.healed or carried.fault is None:
            return
        carried.healed = True
        try:
            carried.record.evidence += carried.fault.heal(self._site)
        except HarnessError as error:
            carried.record.problem = f"{NOT_HEALED}{error}"
            raise
        finally:
            carried.state = _State.OVER
        carried.record.healed_ns = time.time_ns()
        self._narrator.say(f"fault {carried.name} healed")


def _moment_of(record: FaultRecord) -> tuple[bool, int]:
    return record.injected_ns is None, record.injected_ns or 0


def _note_load(record: FaultRecord, last: Sample | None) -> None:
    """Note what the target held when it was struck, as it reported last."""
    if last is not None and last.ok:
        record.queue_length, record.in_flight = last.queue_length, last.in_flight
        # It may have counted as soon as it was asked.
        record.looked_ns = last.asked_ns


def _in_words(record: FaultRecord) -> str:
    said = (
        "the target does not report its queue length"
        if record.queue_length is None
        else f"queue {record.queue_length:,}, in hand {record.in_flight}"
    )
    if record.lag_s:
        said += f", {record.lag_s * 1000:.1f} ms after the condition"
    if record.look_gap_s is not None:
        said += f", which was looked at {record.look_gap_s * 1000:.1f} ms before too"
    return said
