"""The queue runs full by the load alone: nothing is done to the target, it is only watched.

Where it never runs full, because the target has a remedy, that is a result too.

Parameters:
    length: events in the queue that make it full.
    within_s: seconds that it has for running full.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from harness.errors import FaultError
from harness.model import Evidence
from harness.site import Sample, Site

NAME = "full-queue"
MAX_S = 3600.0


class FullQueue:
    """Waits for the queue to be full.

    Evidence: the length of the queue as the health probe saw it, and the target's count of
    pushes that found no room, which speak for the same: a full queue and pushes without
    room, or neither.
    """

    needs: tuple[type, ...] = ()

    def __init__(self, length: int, within_s: float) -> None:
        self._length = length
        self._within_s = within_s
        self._injected = False
        self.struck_ns: int | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Wait until it is full, or the time is over."""
        self._injected = True
        full = site.probe.wait_for(self._is_full, self._within_s)
        if full is not None:
            self.struck_ns = full.answered_ns
        return []

    def heal(self, site: Site) -> list[Evidence]:
        """Say what was seen; the end of the load has ended it."""
        if not self._injected:
            return []
        samples = site.probe.samples()
        lengths = [s.queue_length for s in samples if s.queue_length is not None]
        full = self.struck_ns is not None
        most = f"at most {max(lengths)}" if lengths else "the target does not tell its queue length"
        claim = f"the queue held {self._length} events" if full else "the queue was never full"
        reached = bool(lengths) and (max(lengths) >= self._length) == full
        now = time.time_ns()
        return [Evidence("queue-length", claim, most, reached, now), _pushes(samples, full, now)]

    def _is_full(self, sample: Sample) -> bool:
        return sample.queue_length is not None and sample.queue_length >= self._length


def _pushes(samples: Sequence[Sample], full: bool, now: int) -> Evidence:
    counts = [s.without_room for s in samples if s.without_room is not None]
    claim = "pushes found no room in the queue" if full else "every push found room in the queue"
    if not counts:
        return Evidence("push-counter", claim, "the target does not count them", False, now)
    found = max(counts) - counts[0]
    return Evidence("push-counter", claim, f"{found} without room", (found > 0) == full, now)


def build(parameters: Mapping[str, str | int | float]) -> FullQueue:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown, missing or impossible.
    """
    if set(parameters) != {"length", "within_s"}:
        raise FaultError(f"{NAME} takes length and within_s, got {', '.join(parameters) or 'none'}")
    length, within_s = parameters["length"], parameters["within_s"]
    if not isinstance(length, int) or length < 1:
        raise FaultError(f"{NAME}: length is {length!r}; right is 1 or more events")
    if isinstance(within_s, str) or not 0 < within_s <= MAX_S:
        raise FaultError(f"{NAME}: within_s is {within_s!r}; right is above 0 to {MAX_S:g} seconds")
    return FullQueue(length, float(within_s))
