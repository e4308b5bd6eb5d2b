"""SIGKILL to a server that the target uses, then a restart on the same data.

Parameters:
    servers: names, with spaces between; the first that the target uses is killed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Literal

from harness.faults._lives import Before, capable, ended, new_life
from harness.faults._servers import ANSWERS, ask, asked, first_of, server_names
from harness.model import Evidence
from harness.site import Endpoint, ServersKillable, Site

NAME = "server-kill"
DEFAULT = "redis kafka"


class ServerKill:
    """Kills a server and starts it again when it is healed.

    Evidence: how the server's process ended, that nobody answers at its address while it is
    down and that it answers afterwards, and the kernel's start time of the new process.
    """

    needs: tuple[type, ...] = (ServersKillable,)
    way: Literal["any", "proxied", "disk"] = "any"

    def __init__(self, servers: tuple[str, ...]) -> None:
        self.servers = servers
        self._hit: Endpoint | None = None
        self._before: Before | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Kill it."""
        servers = capable(site, ServersKillable, NAME)
        hit = self._hit = first_of(site, self.servers, NAME)
        before = self._before = Before(servers.server_life(hit.service), None, time.time_ns())
        end = servers.kill_server(hit.service)
        claim = f"the process of {hit.service} was ended by SIGKILL"
        return [
            ended(before, end, claim, end.signal == signal.SIGKILL),
            asked(
                "server-address",
                f"nobody answers at the address of {hit.service}",
                ask(hit.service, hit.outside),
                answers=False,
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Start it again, unless it was never ended."""
        servers = capable(site, ServersKillable, NAME)
        if self._hit is None or self._before is None:
            return []
        name, outside = self._hit.service, self._hit.outside
        if ask(name, outside) != ANSWERS:
            servers.start_server(name)
        claim = f"{name} answers again"
        return [
            new_life(self._before, servers.server_life(name)),
            asked("server-address", claim, ask(name, outside), answers=True),
        ]


def build(parameters: Mapping[str, str | int | float]) -> ServerKill:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    return ServerKill(server_names(NAME, parameters, DEFAULT))
