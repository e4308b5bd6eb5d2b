"""A server is cut off from the target: nothing comes through, and nothing says so.

Parameters:
    servers: names, with spaces between; the first that the target uses is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.faults._lives import capable
from harness.faults._servers import ask, asked, first_of, lift, server_names, through
from harness.model import Evidence
from harness.site import Endpoint, Proxied, Site, Toxic

NAME = "partition"
DEFAULT = "redis kafka"
# Toxiproxy holds all data back and keeps the connections open, old ones and new ones.
TOXICS = tuple(
    Toxic(f"{NAME}-{stream}", "timeout", stream, attributes={"timeout": 0})
    for stream in ("upstream", "downstream")
)


class Partition:
    """Holds back all that goes between the target and a server.

    Evidence: through the proxy, where the target goes, the server does not answer; at its
    own address it does, so it is the way that is cut; afterwards it answers on both.
    """

    needs: tuple[type, ...] = (Proxied,)
    way: Literal["any", "proxied", "disk"] = "proxied"

    def __init__(self, servers: tuple[str, ...]) -> None:
        self.servers = servers
        self._cut: Endpoint | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Cut it off."""
        proxied = capable(site, Proxied, NAME)
        cut = self._cut = first_of(site, self.servers, NAME)
        way = through(cut, NAME)
        for toxic in TOXICS:
            proxied.proxies.add(cut.service, toxic)
        return [
            asked(
                "through-proxy",
                f"{cut.service} does not answer where the target asks it",
                ask(cut.service, way),
                answers=False,
            ),
            asked(
                "server-address",
                f"{cut.service} itself lives, and answers at its own address",
                ask(cut.service, cut.outside),
                answers=True,
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Let everything through again."""
        proxied = capable(site, Proxied, NAME)
        if self._cut is None:
            return []
        cut = self._cut
        for toxic in TOXICS:
            lift(proxied.proxies, cut.service, toxic.name)
        claim = f"{cut.service} answers again where the target asks it"
        said = ask(cut.service, through(cut, NAME))
        return [asked("through-proxy", claim, said, answers=True)]


def build(parameters: Mapping[str, str | int | float]) -> Partition:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    return Partition(server_names(NAME, parameters, DEFAULT))
