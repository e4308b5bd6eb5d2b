"""What faults that have pods replaced have in common: the pods before and after."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lossmeter.faults._lifetimes import (
    Before,
    accounted,
    ended,
    last_answer,
    new_boot,
    new_process,
    seen_again,
)
from lossmeter.model import Evidence
from lossmeter.world.site import Rolled, Sample, Site

# As Kubernetes calls it in the conditions of a pod.
EVICTED = "disrupt EvictionByEvictionAPI"


@dataclass(frozen=True, slots=True)
class Earlier:
    """The last answer that the health probe got before the fault."""

    last: Sample | None
    at_ns: int

    @classmethod
    def look(cls, site: Site) -> Earlier:
        """Look now."""
        return cls(last_answer(site.probe.samples()), time.time_ns())

    def replaced(
        self, site: Site, rolled: Sequence[Rolled], claim: str, wanted: set[str]
    ) -> list[Evidence]:
        """Return what proves that pods were replaced; the next ones serve already."""
        evidence: list[Evidence] = []
        for one in rolled:
            before = Before(one.before, self.last, self.at_ns)
            end = one.stopped.exit
            took_s = (end.at_ns - one.stopped.asked_ns) / 1e9
            how = f"the old process ended {took_s:.2f} s after SIGTERM"
            right = end.signal in {None, signal.SIGTERM, signal.SIGKILL} and took_s >= 0
            evidence += [ended(before, end, how, right), new_process(before, one.after)]
        first = Before(rolled[0].before, self.last, self.at_ns)
        again = seen_again(site)
        return [
            *evidence,
            *new_boot(first, again),
            *accounted(site, self.at_ns, claim, wanted.issubset),
        ]
