"""An experiment as data: one question, asked of any target.

Experiment = Load × timed or triggered Faults × one hypothesis sentence, in variants.
Files in ``experiments/`` define ``EXPERIMENT``; the runner reads nothing else of them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from lossmeter.errors import UsageError
from lossmeter.model import Predicted

MAX_EVENTS = 100_000_000
MAX_LOAD_S = 3600.0
MAX_LOAD_PROCESSES = 256

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
# What a target reports of itself, and what is counted without asking it: rows by the auditor,
# refusals in the journals.
REPORTED_METRICS = ("queue_length", "in_flight")
COUNTED_METRICS = ("persisted", "refused")
_METRICS = (*REPORTED_METRICS, *COUNTED_METRICS)
_CONDITION = re.compile(rf"^\s*({'|'.join(_METRICS)})\s*(>=|<=|==|>|<)\s*(\d+)\s*$")
_FIRST_REFUSAL = re.compile(r"^\s*first\s+refusal\s*$")

LoadState = Literal["before", "during"]
# What the variant without a name is called where it must be named.
DEFAULT = "default"


class Step(StrEnum):
    """A step on the way of an event through a dispatcher; ``run.aim`` says when it is there."""

    ACCEPTED = "accepted"
    ENQUEUED = "enqueued"
    ACKED = "acked"
    DEQUEUED = "dequeued"
    INSERTED = "inserted"
    COMMITTED = "committed"


STEPS = tuple(Step)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of load at one rate."""

    rate_per_s: float
    duration_s: float

    def __post_init__(self) -> None:
        if not self.rate_per_s > 0:
            raise UsageError(f"rate {self.rate_per_s:g}/s is not above 0")
        if not 0 < self.duration_s <= MAX_LOAD_S:
            raise UsageError(f"load of {self.duration_s:g} s is not within 0 to {MAX_LOAD_S:g} s")


@dataclass(frozen=True, slots=True)
class Load:
    """An open load: events are due at absolute times, whatever the target does.

    Attributes:
        phases: one after another.
        producers: how many ids the events of a load process are spread over, in turn.
        payload_bytes: length of each event's payload.
        max_in_flight: requests at once; beyond it the schedule lags, and says so.
        processes: how many load processes share the schedule, each taking every n-th event.
        listen: ``host:port`` where they report when they are started on other machines;
            they reach the target at that host. Empty when they are started here.
        pods: they are started as pods of the cluster that runs the target.
    """

    phases: tuple[Phase, ...]
    producers: int = 8
    payload_bytes: int = 64
    max_in_flight: int = 1500
    processes: int = 1
    listen: str = ""
    pods: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.processes <= MAX_LOAD_PROCESSES:
            raise UsageError(
                f"{self.processes} load processes are not within 1 to {MAX_LOAD_PROCESSES}"
            )
        if self.events > MAX_EVENTS:
            raise UsageError(f"load of {self.events} events is above the limit of {MAX_EVENTS}")

    @property
    def events(self) -> int:
        """Return how many events the schedule holds."""
        return sum(round(phase.rate_per_s * phase.duration_s) for phase in self.phases)

    @property
    def duration_s(self) -> float:
        """Return how long the schedule lasts."""
        return sum(phase.duration_s for phase in self.phases)

    def rate_at(self, elapsed_s: float) -> float:
        """Return the rate asked at a time after the first event; 0 when the load is over."""
        for phase in self.phases:
            if elapsed_s < phase.duration_s:
                return phase.rate_per_s
            elapsed_s -= phase.duration_s
        return 0.0

    @property
    def ids(self) -> range:
        """Return the numbers of all producers; those of a load process follow each other."""
        return range(self.producers * self.processes)

    def sent_by(self, producer: int) -> int:
        """Return how many events of the schedule are ``producer``'s."""
        process, place = divmod(producer, self.producers)
        of_process = len(range(process, self.events, self.processes))
        return len(range(place, of_process, self.producers))


def steady(rate_per_s: float, duration_s: float) -> Load:
    """Return a load of one rate."""
    return Load(phases=(Phase(rate_per_s, duration_s),))


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a fault starts: before the load, or on a condition while it runs.

    Attributes:
        condition: ``queue_length >= 500`` and ``in_flight >= 5`` as the target reports,
            ``persisted >= 300`` as counted in the database, ``first refusal`` or
            ``refused >= 20`` as answered to the producers; None means at ``at_s``.
        at_s: seconds after the first event is due; with a condition that the target must
            report, the time at which one that does not is struck instead.
        limit_s: a condition not met by then makes the run inconclusive.
        step: instead of a condition, a step on an event's way; the target is frozen with
            an event there, and struck. A target that marks no stages is struck at ``at_s``.
        after: with a step, how many events must have been accepted before.
    """

    condition: str | None = None
    at_s: float = 0.0
    limit_s: float = 30.0
    load: LoadState = "during"
    step: str | None = None
    after: int = 0

    def __post_init__(self) -> None:
        if self.step is not None and (self.step not in STEPS or self.condition is not None):
            raise UsageError(
                f"step {self.step!r} is not one of {', '.join(STEPS)}, without a condition"
            )
        if self.condition is not None:
            self._parts()

    def metric(self) -> str:
        """Return the name of what the condition watches, or an empty string."""
        return self._parts()[0] if self.condition else ""

    def holds(self, value: float) -> bool:
        """Return whether the condition is met by ``value`` of its metric."""
        _, compare, bound = self._parts()
        return _OPERATORS[compare](value, bound)

    def can_hold(self, most: float) -> bool:
        """Return whether the condition is met by any number from 0 to ``most``."""
        _, _, bound = self._parts()
        return any(self.holds(value) for value in (0, bound, bound + 1, most) if 0 <= value <= most)

    def _parts(self) -> tuple[str, str, float]:
        """Return metric, comparison and bound; the first refusal is a count of at least 1."""
        if _FIRST_REFUSAL.match(self.condition or ""):
            return "refused", ">=", 1.0
        match = _CONDITION.match(self.condition or "")
        if match is None:
            raise UsageError(
                f"condition {self.condition!r} is not of the form 'queue_length >= 500' or "
                f"'first refusal'; {', '.join(_METRICS)} are known"
            )
        return match[1], match[2], float(match[3])


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault of a variant: which, when, and for how long.

    Attributes:
        fault: name of a file in ``harness/lossmeter/faults``, with ``-`` for ``_``.
        trigger: when it starts.
        hold_s: seconds between the end of its injection and its healing; None holds until all
            settled, and so does a fault that is injected before the load. Several faults
            may hold at the same time.
        parameters: what the fault takes.
    """

    fault: str
    trigger: Trigger
    hold_s: float | None = 0.0
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """What a prediction may know: the plan, the target, and the moment of the last fault.

    Attributes:
        load: what was sent.
        settings: the numbers by which the target behaves.
        queue_survives_crash, in_hand_survives_crash: as its file says.
        queue_length, in_flight: the last reading of the health probe before the fault;
            None where the target does not report it.
        blind_s: seconds between that reading and the fault.
        acked_unseen: events that were acked in those seconds.
        choices: the settings that are words, those of its servers as ``redis.appendfsync``.
        services: the servers that the target uses.
        start_s: seconds that the target took to start at first; None when not known.
        restart_s: how much longer than that a restart may take, as the runtime says.
        held_s: seconds between the fault's injection and the end of its healing.
        parameters: the numbers that the fault was given.
        struck: the fault struck the target; a limit that it survived did not.
        fault: its name; empty for a run without faults.
        at_s, hold_s: when it was planned to come, seconds after the first event, and for how
            long; None until all settled.
        struck_s: when it struck, seconds after the first event; None when it did not.
        instances: how many of the target served side by side.
    """

    load: Load
    settings: Mapping[str, float]
    queue_survives_crash: bool | None
    in_hand_survives_crash: bool | None
    queue_length: int | None
    in_flight: int | None
    blind_s: float
    acked_unseen: int = 0
    choices: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    start_s: float | None = None
    held_s: float | None = None
    struck: bool = True
    parameters: Mapping[str, float] = field(default_factory=dict)
    restart_s: float = 0.0
    fault: str = ""
    at_s: float = 0.0
    hold_s: float | None = None
    struck_s: float | None = None
    instances: int = 1

    @property
    def rate_per_s(self) -> float:
        """Return the rate asked when the fault struck; where that is not known, the last one."""
        asked = 0.0 if self.struck_s is None else self.load.rate_at(self.struck_s)
        return asked or self.load.phases[-1].rate_per_s


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of the question.

    Attributes:
        name: appended to the experiment's name; empty for the only variant.
        settings: asked of the target by logical name, e.g. ``capacity``; a target maps
            those it has to its own, and keeps its own value for the others. A name such as
            ``redis.appendfsync`` is a setting of a server, for targets that use it.
        targets: names of the targets asked by default, where they differ from the
            experiment's.
        requires: names of settings without which the question means nothing to a target;
            one that does not map them is a named skip.
        instances: how many of the target serve side by side.
        tuned: the settings that a target's own file says it keeps its highest rates with come
            before these.
        remedy_of: the variant that asks the same without a remedy, which these settings are;
            ``DEFAULT`` is the unnamed one, and None means that this is no remedy.
    """

    name: str
    load: Load
    faults: tuple[PlannedFault, ...] = ()
    settings: Mapping[str, str | int | float] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    instances: int = 1
    tuned: bool = False
    remedy_of: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One question with its hypothesis.

    Attributes:
        name: as typed on the command line.
        hypothesis: one sentence that the run can contradict.
        variants: each is run and judged on its own.
        targets: names of the targets asked by default.
        predict: what the model expects, given what was observed.
        bounds: the budget where ``budgets.toml`` has none for it.
        exact: the prediction must be met to the event, else the instrument is wrong.
        alone: nothing may run beside it, since it measures what the machine can do.
        by_name_only: ``all`` leaves it out, since it takes long.
    """

    name: str
    hypothesis: str
    variants: tuple[Variant, ...]
    targets: tuple[str, ...]
    predict: Callable[[Observed], Predicted]
    exact: bool = False
    by_name_only: bool = False
    alone: bool = False
    bounds: Mapping[str, int | float] = field(default_factory=dict)
