"""The queue runs full by the load alone: nothing is done to the target, it is only watched.

Where it never runs full, because the target has a remedy, that is a result too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from lossmeter.faults._fault import Fault, Parameters, within
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Sample, Site

MAX_S = 3600.0


class Takes(Parameters):
    """How many events in the queue make it full, and within how many seconds it must be."""

    length: Annotated[int, Field(ge=1, description="1 or more events")]
    within_s: Annotated[float, within(0, MAX_S, "seconds", above=True)]


class FullQueue(Fault[Takes]):
    """Waits for the queue to be full.

    Evidence: the length of the queue as the health probe saw it, and the target's count of
    pushes that found no room, which speak for the same: a full queue and pushes without
    room, or neither.
    """

    takes = Takes
    delayed = True

    _injected = False

    def inject(self, site: Site) -> list[Evidence]:
        """Wait until it is full, or the time is over."""
        self._injected = True
        full = site.probe.wait_for(self._is_full, self.asked.within_s)
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
        claim = (
            f"the queue held {plural(self.asked.length, 'event')}"
            if full
            else "the queue was never full"
        )
        reached = bool(lengths) and (max(lengths) >= self.asked.length) == full
        now = time.time_ns()
        return [Evidence("queue-length", claim, most, reached, now), _pushes(samples, full, now)]

    def _is_full(self, sample: Sample) -> bool:
        return sample.queue_length is not None and sample.queue_length >= self.asked.length


def _pushes(samples: Sequence[Sample], full: bool, now: int) -> Evidence:
    counts = [s.without_room for s in samples if s.without_room is not None]
    claim = "pushes found no room in the queue" if full else "every push found room in the queue"
    if not counts:
        return Evidence("push-counter", claim, "the target does not count them", False, now)
    found = max(counts) - counts[0]
    return Evidence("push-counter", claim, f"{found} without room", (found > 0) == full, now)
