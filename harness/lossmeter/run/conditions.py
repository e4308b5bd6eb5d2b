"""Waits for the condition of a fault: on what the target reports, or on what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lossmeter.experiment import Trigger
from lossmeter.run.probe import HealthProbe
from lossmeter.world.site import Sample

# How often a counter is read: the health probe's own pace.
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Met:
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


class ByProbe:
    """Waits for a condition on what the target reports; looks at each sample exactly once."""

    def __init__(self, probe: HealthProbe, trigger: Trigger, seen: int = 0) -> None:
        self._probe = probe
        self._trigger = trigger
        self._seen = seen

    def look(self, within_s: float) -> Met | None:
        """Return the first sample not looked at yet that meets it; None when time is up."""
        met = self._probe.wait_for(self._meets, within_s, self._seen)
        if met is None:
            return None
        before = (s.asked_ns for s in reversed(self._probe.samples()) if s.asked_ns < met.asked_ns)
        return Met(met.answered_ns, next(before, None))

    def last(self) -> int | None:
        """Return the number last seen."""
        return self._number(self._probe.last())

    def _number(self, sample: Sample | None) -> int | None:
        return None if sample is None else getattr(sample, self._trigger.metric())

    def _meets(self, sample: Sample) -> bool:
        self._seen += 1
        value = self._number(sample)
        return value is not None and self._trigger.holds(value)


class ByCounter:
    """Waits for a condition on a number that is counted anew at each look."""

    def __init__(self, count: Callable[[], int | None], trigger: Trigger) -> None:
        self._count = count
        self._trigger = trigger
        self._last: int | None = None
        self._before_ns: int | None = None

    def look(self, within_s: float) -> Met | None:
        """Look every ``POLL_S`` until the condition holds, or time is up."""
        deadline = time.monotonic() + within_s
        while (begin := time.monotonic()) < deadline:
            asked_ns = time.time_ns()
            self._last = self._count()
            if self._last is not None and self._trigger.holds(self._last):
                return Met(time.time_ns(), self._before_ns)
            self._before_ns = asked_ns
            time.sleep(max(0.0, POLL_S - (time.monotonic() - begin)))
        return None

    def last(self) -> int | None:
        """Return the number last seen."""
        return self._last
