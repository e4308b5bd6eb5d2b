"""The target is stopped, taken away and put there anew: a rollout of one instance."""

from __future__ import annotations

from lossmeter.faults._graces import Grace
from lossmeter.faults._lifetimes import (
    Before,
    accounted,
    ended,
    recorded,
    serves_again,
)
from lossmeter.faults._parts import AtProcess, AtTarget
from lossmeter.model import Evidence
from lossmeter.world.site import Replaceable, Site


class Takes(Grace, AtProcess):
    """The grace, and whom it strikes."""


class Replace(AtTarget[Takes]):
    """Replaces the target by a new one.

    Evidence: how the old process ended, the kernel's start time of the new one, the gap in
    the health probe, the engine's record, and the target's boot id.
    """

    takes = Takes
    needs = (Replaceable,)

    def strike(self, site: Site) -> list[Evidence]:
        """Stop, remove and start anew."""
        target = self.capable(site, Replaceable)
        before = Before.look(target, site.probe.samples())
        stopped = target.replace(self.asked.grace_s)
        end = stopped.exit
        own = end.signal in {None, stopped.signal}
        how = "by SIGKILL after the grace" if stopped.killed_ns else "by itself"
        return [
            ended(before, end, f"the old process ended {how}", own or bool(stopped.killed_ns)),
            *serves_again(site, before, target.incarnation(), end.at_ns),
            *recorded(
                site,
                before.at_ns,
                "the engine stopped one container and started another",
                {"destroy", "create", "start"}.issubset,
            ),
            *accounted(
                site,
                before.at_ns,
                "one pod was deleted and another created",
                {"delete", f"die {end.code}", "create", "start"}.issubset,
            ),
        ]
