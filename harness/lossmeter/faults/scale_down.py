"""Fewer instances of the target are asked for; as the fault heals, as many as before."""

from __future__ import annotations

import signal
from typing import Annotated

from pydantic import Field

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Parameters, Strikes, now
from lossmeter.faults._lifetimes import Before, accounted, ended
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Scalable, Site


class Takes(Parameters):
    """How many instances are left."""

    to: Annotated[int, Field(ge=1, description="how many instances are left, 1 or more")]


class ScaleDown(Fault[Takes]):
    """Scales the target down under load, and up again.

    Evidence: how the processes ended that were too many, and how many instances the cluster
    counts and wrote down.
    """

    takes = Takes
    needs = (Scalable,)
    strikes = frozenset({Strikes.TARGET})

    _from = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Ask for fewer, and see those end that are too many."""
        target = self.capable(site, Scalable)
        self._from = target.instances()
        if self._from <= self.asked.to:
            raise FaultError(
                f"scale-down: {self._from} serve, so none is too many for {self.asked.to}"
            )
        before = Before.look(target, site.probe.samples())
        stopped = target.scale(self.asked.to)
        right = {None, signal.SIGTERM, signal.SIGKILL}
        return [
            *(
                ended(before, each.exit, "an instance too many ended", each.exit.signal in right)
                for each in stopped
            ),
            self._counted(target.instances(), self.asked.to),
            *accounted(
                site,
                before.at_ns,
                plural(
                    self._from - self.asked.to,
                    "pod was to be deleted and ended",
                    "pods were to be deleted and ended",
                ),
                lambda said: (
                    min(said.count("delete"), sum(a.startswith("die") for a in said))
                    >= self._from - self.asked.to
                ),
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Ask for as many as before."""
        target = self.capable(site, Scalable)
        if not self._from or target.instances() >= self._from:
            return []
        target.scale(self._from)
        return [self._counted(target.instances(), self._from)]

    def _counted(self, count: int, wanted: int) -> Evidence:
        claim = f"the cluster counts {wanted} that serve"
        return now("instances", claim, f"{count}", count == wanted)
