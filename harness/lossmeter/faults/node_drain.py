"""The node of the target is drained: nothing new comes onto it, and its pods are evicted.

On a node that is alone they cannot come back before it is opened again, as the fault heals.
"""

from __future__ import annotations

from collections.abc import Sequence

from lossmeter.faults._fault import Fault, Parameters, Strikes, now
from lossmeter.faults._lifetimes import Before, accounted, ended, serves_again
from lossmeter.faults._pods import EVICTED
from lossmeter.model import Evidence
from lossmeter.world.site import Drainable, Site, Stopped


class NodeDrain(Fault[Parameters]):
    """Cordons the node and evicts the target's pods: ``kubectl drain``.

    Evidence: how each process ended, that the cluster says the node is closed and the pods
    were evicted, the gap in the health probe, and another process afterwards.
    """

    needs = (Drainable,)
    strikes = frozenset({Strikes.TARGET})

    _before: Before | None = None
    _stopped: Sequence[Stopped] = ()

    def inject(self, site: Site) -> list[Evidence]:
        """Drain it and see the pods end."""
        target = self.capable(site, Drainable)
        self._before = Before.look(target, site.probe.samples())
        self._stopped = target.drain_node()
        taken = target.node_open()
        said = accounted(
            site,
            self._before.at_ns,
            "each pod was evicted and ended",
            lambda actions: min(actions.count(EVICTED), _ends(actions)) >= len(self._stopped) > 0,
        )
        closed = now(
            "node", "the node takes no new pods", "it does" if taken else "it does not", not taken
        )
        return [*(self._end(self._before, each) for each in self._stopped), closed, *said]

    def heal(self, site: Site) -> list[Evidence]:
        """Open the node again and see the target serve."""
        target = self.capable(site, Drainable)
        after = target.open_node()
        if self._before is None or not self._stopped:
            return []
        last_ns = max(each.exit.at_ns for each in self._stopped)
        return serves_again(site, self._before, after, last_ns)

    def _end(self, before: Before, stopped: Stopped) -> Evidence:
        took_s = (stopped.exit.at_ns - stopped.asked_ns) / 1e9
        return ended(before, stopped.exit, f"it ended {took_s:.2f} s after SIGTERM", took_s >= 0)


def _ends(actions: Sequence[str]) -> int:
    return sum(action.startswith("die") for action in actions)
