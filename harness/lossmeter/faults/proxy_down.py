"""Connections to a server are refused, and those that were open are closed: it is down."""

from __future__ import annotations

from lossmeter.faults._servers import Names, ServerNames, WayCut
from lossmeter.world.site import ProxyControl


class Takes(ServerNames):
    """Which server is out of reach."""

    servers: Names = ("postgres",)


class ProxyDown(WayCut[Takes]):
    """Closes the proxy in front of a server."""

    takes = Takes

    def cut(self, proxies: ProxyControl, server: str) -> None:
        """Close its connections and refuse new ones."""
        proxies.disable(server)

    def join(self, proxies: ProxyControl, server: str) -> None:
        """Accept connections again."""
        proxies.enable(server)
