"""A pod of the target is deleted, and the cluster puts another in its place at once."""

from __future__ import annotations

from typing import Annotated

from lossmeter.faults._fault import Fault, Parameters, Strikes, within
from lossmeter.faults._graces import MAX_GRACE_S
from lossmeter.faults._pods import Earlier
from lossmeter.model import Evidence
from lossmeter.world.site import PodRemovable, Site


class Takes(Parameters):
    """The grace of the deletion, which is not the pod's own; a kubelet takes 0 for 1."""

    grace_s: Annotated[float, within(1, MAX_GRACE_S, "seconds")]

    def graces(self) -> tuple[float, float]:
        """Return the grace, and no preStop."""
        return self.grace_s, 0.0


class PodDelete(Fault[Takes]):
    """Deletes a pod: ``kubectl delete pod --grace-period``.

    Evidence: how the old process ended, the kernel's start time of the new one, the target's
    boot id, and what the cluster wrote down.
    """

    takes = Takes
    needs = (PodRemovable,)
    strikes = frozenset({Strikes.TARGET})

    def inject(self, site: Site) -> list[Evidence]:
        """Delete it, see it end and the next one serve."""
        seen = Earlier.look(site)
        rolled = self.capable(site, PodRemovable).delete_pod(self.asked.grace_s)
        code = rolled.stopped.exit.code
        return seen.replaced(
            site,
            [rolled],
            "one pod was to be deleted and ended, and another was created and started",
            {"delete", f"die {code}", "create", "start"},
        )
