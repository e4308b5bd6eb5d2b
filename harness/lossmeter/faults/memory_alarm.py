"""RabbitMQ's resource alarm: its memory is above the watermark, and it reads no more of publishers.

What they go on to write stays in their sockets, and on the way: without confirms nobody is told.
It is taken when the alarm is over, and lost when the connection, or the broker, ends before.
"""

from __future__ import annotations

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Parameters, Strikes, now
from lossmeter.model import Evidence
from lossmeter.world.site import Alarmable, Incarnation, ServersKillable, Site
from lossmeter.world.waiting import wait_for

SERVER, MEMORY = "rabbitmq", "memory"
# Less than any node takes: one with nothing in it has some 120 MiB.
WATERMARK_BYTES = 2**20
# The node looks for what is asked of it ten times a second.
HEEDED_WITHIN_S = 10.0
LOOK_EVERY_S = 0.1


class MemoryAlarm(Fault[Parameters]):
    """Lowers the watermark of RabbitMQ's memory below what it uses, until it is healed.

    Evidence: the server's alarm, which is there until it is healed, or the server began anew, by
    the kernel's start times; and a publisher of the harness, which is told that it is blocked, and
    whose message is confirmed again afterwards.
    """

    needs = (Alarmable, ServersKillable)
    servers = (SERVER,)
    strikes = frozenset({Strikes.MEMORY})

    _before: Incarnation | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Lower the watermark, and see the alarm raised."""
        servers = self.capable(site, Alarmable)
        if SERVER not in site.endpoints:
            raise FaultError(f"{self.name()} needs a target that uses {SERVER}")
        before = servers.alarms(SERVER)
        self._before = self.capable(site, ServersKillable).server_lifetime(SERVER)
        servers.set_watermark(SERVER, WATERMARK_BYTES)
        raised = _seen(servers, alarm=True)
        why = servers.blocked(SERVER)
        return [
            now("management", f"{SERVER} was short of nothing", _said(before), not before),
            raised,
            now("publisher", f"{SERVER} lets publishers wait", why or "it took one", bool(why)),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Set the watermark back, and see the alarm gone."""
        servers = self.capable(site, Alarmable)
        if self._before is None:
            return []
        kept = self._kept(site, servers.alarms(SERVER))
        servers.set_watermark(SERVER, None)
        gone = _seen(servers, alarm=False)
        why = servers.blocked(SERVER)
        return [
            kept,
            gone,
            now("publisher", f"{SERVER} takes from publishers again", why or "it did", not why),
        ]

    def _kept(self, site: Site, alarms: frozenset[str]) -> Evidence:
        """Return that nobody else ended the alarm; a server that ends does."""
        lives = self.capable(site, ServersKillable).server_lifetime(SERVER)
        if self._before is not None and lives.start_ticks != self._before.start_ticks:
            was, now_is = (f"{each.pid}/{each.start_ticks}" for each in (self._before, lives))
            claim, said = f"{SERVER} began anew, without its alarm", f"{was} became {now_is}"
            return now("process-table", claim, said, MEMORY not in alarms)
        claim = f"{SERVER} had its alarm until it was healed"
        return now("management", claim, _said(alarms), MEMORY in alarms)


def _seen(servers: Alarmable, *, alarm: bool) -> Evidence:
    """Return what the server says, when it says what it should or time is up."""
    wait_for(lambda: (MEMORY in servers.alarms(SERVER)) == alarm, HEEDED_WITHIN_S, LOOK_EVERY_S)
    found = servers.alarms(SERVER)
    state = "has raised its alarm" if alarm else "has no alarm any more"
    claim = f"{SERVER} {state} of memory"
    return now("management", claim, _said(found), (MEMORY in found) == alarm)


def _said(alarms: frozenset[str]) -> str:
    return f"alarms: {', '.join(sorted(alarms)) or 'none'}"
