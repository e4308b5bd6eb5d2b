"""A server is cut off from the target: nothing comes through, and nothing says so."""

from __future__ import annotations

from lossmeter.faults._servers import Names, ServerNames, WayCut, lift
from lossmeter.world.site import ProxyControl, Toxic

# Toxiproxy holds all data back and keeps the connections open, old ones and new ones.
TOXICS = tuple(
    Toxic(f"partition-{stream}", "timeout", stream, attributes={"timeout": 0})
    for stream in ("upstream", "downstream")
)


class Takes(ServerNames):
    """Which server is cut off."""

    servers: Names = ("redis", "kafka", "rabbitmq")


class Partition(WayCut[Takes]):
    """Holds back all that goes between the target and a server."""

    takes = Takes

    def cut(self, proxies: ProxyControl, server: str) -> None:
        """Hold all data back."""
        for toxic in TOXICS:
            proxies.add(server, toxic)

    def join(self, proxies: ProxyControl, server: str) -> None:
        """Let everything through again."""
        for toxic in TOXICS:
            lift(proxies, server, toxic.name)
