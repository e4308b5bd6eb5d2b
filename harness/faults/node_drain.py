"""The node of the target is drained: nothing new comes onto it, and its pods are evicted.

On a node that is alone they cannot come back before it is opened again, as the fault heals.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from harness.faults._lives import (
    Before,
    accounted,
    capable,
    ended,
    gap,
    new_boot,
    new_life,
    no_parameters,
    seen_again,
)
from harness.faults._pods import EVICTED
from harness.model import Evidence
from harness.site import Drainable, Site, Stopped

NAME = "node-drain"


class NodeDrain:
    """Cordons the node and evicts the target's pods: ``kubectl drain``.

    Evidence: how each process ended, that the cluster says the node is closed and the pods
    were evicted, the gap in the health probe, and another life afterwards.
    """

    needs: tuple[type, ...] = (Drainable,)

    def __init__(self) -> None:
        self._before: Before | None = None
        self._stopped: list[Stopped] = []

    def inject(self, site: Site) -> list[Evidence]:
        """Drain it and see the pods end."""
        target = capable(site, Drainable, NAME)
        self._before = Before.look(target, site.probe.samples())
        self._stopped = list(target.drain_node())
        taken = target.node_open()
        told = accounted(
            site,
            self._before.at_ns,
            "each pod was evicted and ended",
            lambda actions: min(actions.count(EVICTED), _ends(actions)) >= len(self._stopped) > 0,
        )
        closed = Evidence(
            source="node",
            claim="the node takes no new pods",
            value="it does" if taken else "it does not",
            holds=not taken,
            at_ns=time.time_ns(),
        )
        return [*(self._end(self._before, each) for each in self._stopped), closed, *told]

    def heal(self, site: Site) -> list[Evidence]:
        """Open the node again and see the target serve."""
        target = capable(site, Drainable, NAME)
        after = target.open_node()
        if self._before is None or not self._stopped:
            return []
        again = seen_again(site)
        return [
            new_life(self._before, after),
            gap(site, max(each.exit.at_ns for each in self._stopped), again),
            *new_boot(self._before, again),
        ]

    def _end(self, before: Before, stopped: Stopped) -> Evidence:
        took_s = (stopped.exit.at_ns - stopped.asked_ns) / 1e9
        return ended(before, stopped.exit, f"it ended {took_s:.2f} s after SIGTERM", took_s >= 0)


def _ends(actions: Sequence[str]) -> int:
    return sum(action.startswith("die") for action in actions)


def build(parameters: Mapping[str, str | int | float]) -> NodeDrain:
    """Return the fault.

    Raises:
        FaultError: a parameter was given.
    """
    no_parameters(NAME, parameters)
    return NodeDrain()
