"""What faults that have pods replaced have in common: the pods before and after."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from harness.faults._lives import Before, accounted, ended, new_boot, new_life, seen_again
from harness.model import Evidence
from harness.site import Rolled, Sample, Site

# As Kubernetes calls it in the conditions of a pod.
EVICTED = "disrupt EvictionByEvictionAPI"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen before the fault.

    Attributes:
        last: the last answer of the health probe; None when it never got one.
        at_ns: wall clock of this look.
    """

    last: Sample | None
    at_ns: int

    @classmethod
    def look(cls, site: Site) -> Seen:
        """Look now."""
        last = next((s for s in reversed(site.probe.samples()) if s.ok), None)
        return cls(last, time.time_ns())

    def replaced(
        self, site: Site, rolled: Sequence[Rolled], claim: str, wanted: AbstractSet[str]
    ) -> list[Evidence]:
        """Return what proves that pods were replaced; the next ones serve already."""
        evidence: list[Evidence] = []
        for one in rolled:
            before = Before(one.before, self.last, self.at_ns)
            end = one.stopped.exit
            took_s = (end.at_ns - one.stopped.asked_ns) / 1e9
            how = f"the old process ended {took_s:.2f} s after SIGTERM"
            right = end.signal in {None, signal.SIGTERM, signal.SIGKILL} and took_s >= 0
            evidence += [ended(before, end, how, right), new_life(before, one.after)]
        first = Before(rolled[0].before, self.last, self.at_ns)
        again = seen_again(site)
        return [
            *evidence,
            *new_boot(first, again),
            *accounted(site, self.at_ns, claim, lambda told: wanted <= set(told)),
        ]
