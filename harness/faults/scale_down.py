"""Fewer instances of the target are asked for; as the fault heals, as many as before.

Parameters:
    to: how many are left, 1 or more.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping

from harness.errors import FaultError
from harness.faults._lives import Before, accounted, capable, ended
from harness.model import Evidence
from harness.site import Scalable, Site

NAME = "scale-down"


class ScaleDown:
    """Scales the target down under load, and up again.

    Evidence: how the processes ended that were too many, and how many instances the cluster
    counts and wrote down.
    """

    needs: tuple[type, ...] = (Scalable,)

    def __init__(self, to: int) -> None:
        self._to = to
        self._from = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Ask for fewer, and see those end that are too many."""
        target = capable(site, Scalable, NAME)
        self._from = target.instances()
        if self._from <= self._to:
            raise FaultError(f"scale-down: {self._from} serve, so none is too many for {self._to}")
        before = Before.look(target, site.probe.samples())
        stopped = target.scale(self._to)
        right = {None, signal.SIGTERM, signal.SIGKILL}
        return [
            *(
                ended(before, each.exit, "an instance too many ended", each.exit.signal in right)
                for each in stopped
            ),
            self._counted(target.instances(), self._to),
            *accounted(
                site,
                before.at_ns,
                f"{self._from - self._to} pods were to be deleted and ended",
                lambda told: (
                    min(told.count("delete"), sum(a.startswith("die") for a in told))
                    >= self._from - self._to
                ),
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Ask for as many as before."""
        target = capable(site, Scalable, NAME)
        if not self._from or target.instances() >= self._from:
            return []
        target.scale(self._from)
        return [self._counted(target.instances(), self._from)]

    def _counted(self, count: int, wanted: int) -> Evidence:
        return Evidence(
            source="instances",
            claim=f"the cluster counts {wanted} that serve",
            value=f"{count}",
            holds=count == wanted,
            at_ns=time.time_ns(),
        )


def build(parameters: Mapping[str, str | int | float]) -> ScaleDown:
    """Return the fault.

    Raises:
        FaultError: the parameter is missing or impossible, or something else was given.
    """
    to = parameters.get("to")
    if set(parameters) != {"to"} or not isinstance(to, int) or to < 1:
        raise FaultError("scale-down takes to, how many instances are left, 1 or more")
    return ScaleDown(to)
