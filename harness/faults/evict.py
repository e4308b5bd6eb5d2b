"""A pod of the target is evicted, as when a node is short of room; it has its own grace."""

from __future__ import annotations

from collections.abc import Mapping

from harness.faults._lives import capable, no_parameters
from harness.faults._pods import EVICTED, Seen
from harness.model import Evidence
from harness.site import PodRemovable, Site

NAME = "evict"


class Evict:
    """Evicts a pod through the API that respects budgets of disruption.

    Evidence: as for a pod that is deleted, and that the cluster says it was an eviction.
    """

    needs: tuple[type, ...] = (PodRemovable,)

    def inject(self, site: Site) -> list[Evidence]:
        """Evict it, see it end and the next one serve."""
        seen = Seen.look(site)
        rolled = capable(site, PodRemovable, NAME).evict_pod()
        code = rolled.stopped.exit.code
        return seen.replaced(
            site,
            [rolled],
            "one pod was evicted and ended, and another was created and started",
            {EVICTED, f"die {code}", "create", "start"},
        )

    def heal(self, site: Site) -> list[Evidence]:
        """Do nothing: the new one serves."""
        del site
        return []


def build(parameters: Mapping[str, str | int | float]) -> Evict:
    """Return the fault.

    Raises:
        FaultError: a parameter was given.
    """
    no_parameters(NAME, parameters)
    return Evict()
