"""The target is cut off from the network of its servers and producers, then connected again."""

from __future__ import annotations

import time

from lossmeter.faults._fault import Fault, Parameters, Strikes, now
from lossmeter.faults._lifetimes import Before, recorded, seen_again
from lossmeter.model import Evidence
from lossmeter.world.site import Disconnectable, Site


class Disconnect(Fault[Parameters]):
    """Cuts the target off.

    Evidence: what the engine says of the network's members, its record, and the gap in the
    health probe, whose way to the target is cut too.
    """

    needs = (Disconnectable,)
    strikes = frozenset({Strikes.TARGET})

    _before: Before | None = None
    _cut_ns = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Cut it off."""
        target = self.capable(site, Disconnectable)
        self._before = Before.look(target, site.probe.samples())
        target.disconnect()
        self._cut_ns = time.time_ns()
        member = target.connected()
        cut = now(
            "network-members",
            "the target is not in the network of the run",
            "it is in it" if member else "it is not in it",
            not member,
        )
        claim = "the engine disconnected it"
        return [cut, *recorded(site, self._before.at_ns, claim, {"network disconnect"}.issubset)]

    def heal(self, site: Site) -> list[Evidence]:
        """Connect it again."""
        target = self.capable(site, Disconnectable)
        until_ns = time.time_ns()
        target.reconnect()
        if self._before is None or not self._cut_ns:
            return []
        again = seen_again(site)
        window = [
            s
            for s in site.probe.samples()
            if self._cut_ns < s.asked_ns and s.answered_ns < until_ns
        ]
        silence = Evidence(
            source="health-probe",
            claim="the target could not be reached while it was cut off, and again afterwards",
            value=f"{sum(s.ok for s in window)} of {len(window)} probes answered",
            holds=bool(window) and again is not None and not any(s.ok for s in window),
            at_ns=until_ns,
        )
        claim = "the engine connected it again"
        return [silence, *recorded(site, self._cut_ns, claim, {"network connect"}.issubset)]
