"""A pod of the target is evicted, as when a node is short of room; it has its own grace."""

from __future__ import annotations

from lossmeter.faults._fault import Fault, Parameters, Strikes
from lossmeter.faults._pods import EVICTED, Earlier
from lossmeter.model import Evidence
from lossmeter.world.site import PodRemovable, Site


class Evict(Fault[Parameters]):
    """Evicts a pod through the API that respects budgets of disruption.

    Evidence: as for a pod that is deleted, and that the cluster says it was an eviction.
    """

    needs = (PodRemovable,)
    strikes = frozenset({Strikes.TARGET})

    def inject(self, site: Site) -> list[Evidence]:
        """Evict it, see it end and the next one serve."""
        seen = Earlier.look(site)
        rolled = self.capable(site, PodRemovable).evict_pod()
        code = rolled.stopped.exit.code
        return seen.replaced(
            site,
            [rolled],
            "one pod was evicted and ended, and another was created and started",
            {EVICTED, f"die {code}", "create", "start"},
        )
