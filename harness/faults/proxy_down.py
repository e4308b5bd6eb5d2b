"""Connections to a server are refused, and those that were open are closed: it is down.

Parameters:
    servers: names, with spaces between; the first that the target uses is hit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.faults._lives import capable
from harness.faults._servers import ask, asked, first_of, server_names, through
from harness.model import Evidence
from harness.site import Endpoint, Proxied, Site

NAME = "proxy-down"
DEFAULT = "postgres"


class ProxyDown:
    """Closes the proxy in front of a server.

    Evidence: nobody answers where the target asks the server; at its own address it does
    answer, so it is nothing else that is wrong with it; afterwards it answers on both.
    """

    needs: tuple[type, ...] = (Proxied,)
    way: Literal["any", "proxied", "disk"] = "proxied"

    def __init__(self, servers: tuple[str, ...]) -> None:
        self.servers = servers
        self._hit: Endpoint | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Close it."""
        proxied = capable(site, Proxied, NAME)
        hit = first_of(site, self.servers, NAME)
        way = through(hit, NAME)
        self._hit = hit
        proxied.proxies.disable(hit.service)
        refused = f"{hit.service} refuses connections where the target asks it"
        lives = f"{hit.service} itself lives, and answers at its own address"
        return [
            asked("through-proxy", refused, ask(hit.service, way), answers=False),
            asked("server-address", lives, ask(hit.service, hit.outside), answers=True),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Open it again."""
        proxied = capable(site, Proxied, NAME)
        if self._hit is None:
            return []
        proxied.proxies.enable(self._hit.service)
        claim = f"{self._hit.service} answers again where the target asks it"
        said = ask(self._hit.service, through(self._hit, NAME))
        return [asked("through-proxy", claim, said, answers=True)]


def build(parameters: Mapping[str, str | int | float]) -> ProxyDown:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    return ProxyDown(server_names(NAME, parameters, DEFAULT))
