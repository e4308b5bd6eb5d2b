"""SIGKILL to a server that the target uses, then a restart on the same data."""

from __future__ import annotations

import signal
import time

from lossmeter.faults._fault import Strikes
from lossmeter.faults._lifetimes import Before, ended, new_process
from lossmeter.faults._servers import ANSWERS, AtServer, Names, ServerNames, ask, asked
from lossmeter.model import Evidence
from lossmeter.world.site import ServersKillable, Site


class Takes(ServerNames):
    """Which server is struck."""

    servers: Names = ("redis", "kafka", "rabbitmq")


class ServerKill(AtServer[Takes]):
    """Kills a server and starts it again when it is healed.

    Evidence: how the server's process ended, that nobody answers at its address while it is
    down and that it answers afterwards, and the kernel's start time of the new process.
    """

    takes = Takes
    needs = (ServersKillable,)
    strikes = frozenset({Strikes.SERVER})
    takes_away = True

    _before: Before | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Kill it."""
        servers = self.capable(site, ServersKillable)
        hit = self._hit = self.find(site)
        before = self._before = Before(servers.server_lifetime(hit.service), None, time.time_ns())
        end = servers.kill_server(hit.service)
        claim = f"the process of {hit.service} was ended by SIGKILL"
        return [
            ended(before, end, claim, end.signal == signal.SIGKILL),
            asked(
                "server-address",
                f"nobody answers at the address of {hit.service}",
                ask(hit, hit.outside),
                answers=False,
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Start it again, unless it was never ended."""
        servers = self.capable(site, ServersKillable)
        if self._hit is None or self._before is None:
            return []
        name, outside = self._hit.service, self._hit.outside
        if ask(self._hit, outside) != ANSWERS:
            servers.start_server(name)
        claim = f"{name} answers again"
        return [
            new_process(self._before, servers.server_lifetime(name)),
            asked("server-address", claim, ask(self._hit, outside), answers=True),
        ]
