"""Each answer of a server comes later by a fixed time: a slow network, or a far database.

Parameters:
    latency_ms: milliseconds by which each answer is late.
    servers: names, with spaces between; the first that the target uses is hit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

from harness.errors import FaultError
from harness.faults._lives import capable
from harness.faults._servers import first_of, lift, round_trip_s, server_names, through
from harness.model import Address, Evidence
from harness.site import Endpoint, Proxied, Site, Toxic

NAME = "latency"
DEFAULT = "postgres"
MAX_MS = 60_000
# A busy machine may answer late by itself.
SPARE_S = 2.0


class Latency:
    """Delays what comes from a server.

    Evidence: the round trip through the proxy, where the target goes, takes at least as
    long; at the server's own address it does not; afterwards it is short again.
    """

    needs: tuple[type, ...] = (Proxied,)
    way: Literal["any", "proxied", "disk"] = "proxied"

    def __init__(self, servers: tuple[str, ...], latency_ms: int) -> None:
        self.servers = servers
        self._latency_s = latency_ms / 1000
        self._toxic = Toxic(NAME, "latency", attributes={"latency": latency_ms, "jitter": 0})
        self._hit: Endpoint | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Begin to delay."""
        proxied = capable(site, Proxied, NAME)
        hit = first_of(site, self.servers, NAME)
        way = through(hit, NAME)
        self._hit = hit
        proxied.proxies.add(hit.service, self._toxic)
        late = f"answers of {hit.service} come {self._latency_s:g} s late where the target asks it"
        prompt = f"{hit.service} itself answers at once at its own address"
        return [
            self._measured("through-proxy", late, hit.service, way, late=True),
            self._measured("server-address", prompt, hit.service, hit.outside, late=False),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Delay no more."""
        proxied = capable(site, Proxied, NAME)
        if self._hit is None:
            return []
        hit = self._hit
        lift(proxied.proxies, hit.service, self._toxic.name)
        claim = f"{hit.service} answers at once again where the target asks it"
        way = through(hit, NAME)
        return [self._measured("through-proxy", claim, hit.service, way, late=False)]

    def _measured(
        self, source: str, claim: str, server: str, where: Address, *, late: bool
    ) -> Evidence:
        took_s = round_trip_s(server, where, self._latency_s + SPARE_S)
        told = "no answer" if took_s is None else f"{took_s * 1000:.1f} ms"
        holds = took_s is not None and (took_s >= self._latency_s) == late
        return Evidence(source, claim, told, holds, time.time_ns())


def build(parameters: Mapping[str, str | int | float]) -> Latency:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    rest = {name: value for name, value in parameters.items() if name != "latency_ms"}
    if set(rest) - {"servers"}:
        raise FaultError(f"{NAME} takes latency_ms and servers, got {min(set(rest) - {'servers'})}")
    latency_ms = parameters.get("latency_ms")
    if not isinstance(latency_ms, int) or not 1 <= latency_ms <= MAX_MS:
        raise FaultError(f"{NAME}: latency_ms is {latency_ms!r}; right is 1 to {MAX_MS}")
    return Latency(server_names(NAME, rest, DEFAULT), latency_ms)
