"""Each answer of a server comes later by a fixed time: a slow network, or a far database."""

from __future__ import annotations

from typing import Annotated

from lossmeter.faults._fault import Strikes, now, within
from lossmeter.faults._servers import AtServer, Names, ServerNames, lift, round_trip_s
from lossmeter.model import Address, Evidence
from lossmeter.world.site import Endpoint, Proxied, Site, Toxic

MAX_MS = 60_000
# A busy machine may answer late by itself.
SPARE_S = 2.0


class Takes(ServerNames):
    """By how much answers are late, and whose."""

    latency_ms: Annotated[int, within(1, MAX_MS, "milliseconds")]
    servers: Names = ("postgres",)


class Latency(AtServer[Takes]):
    """Delays what comes from a server.

    Evidence: the round trip through the proxy, where the target goes, takes at least as
    long; at the server's own address it does not; afterwards it is short again.
    """

    takes = Takes
    needs = (Proxied,)
    strikes = frozenset({Strikes.WAY})

    def inject(self, site: Site) -> list[Evidence]:
        """Begin to delay."""
        proxied = self.capable(site, Proxied)
        hit = self.find(site)
        way = self.through(hit)
        self._hit = hit
        toxic = {"latency": self.asked.latency_ms, "jitter": 0}
        proxied.proxies.add(hit.service, Toxic(self.name(), "latency", attributes=toxic))
        by = f"{self.asked.latency_ms / 1000:g} s"
        late = f"answers of {hit.service} come {by} late where the target asks it"
        prompt = f"{hit.service} itself answers at once at its own address"
        return [
            self._measured("through-proxy", late, hit, way, late=True),
            self._measured("server-address", prompt, hit, hit.outside, late=False),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Delay no more."""
        proxied = self.capable(site, Proxied)
        if self._hit is None:
            return []
        hit = self._hit
        lift(proxied.proxies, hit.service, self.name())
        claim = f"{hit.service} answers at once again where the target asks it"
        way = self.through(hit)
        return [self._measured("through-proxy", claim, hit, way, late=False)]

    def _measured(
        self, source: str, claim: str, server: Endpoint, where: Address, *, late: bool
    ) -> Evidence:
        latency_s = self.asked.latency_ms / 1000
        took_s = round_trip_s(server, where, latency_s + SPARE_S)
        said = "no answer" if took_s is None else f"{took_s * 1000:.1f} ms"
        return now(source, claim, said, took_s is not None and (took_s >= latency_s) == late)
