"""RabbitMQ's resource alarm: its memory is above the watermark, and it reads no more of publishers.

What they go on to write stays in their sockets, and on the way: without confirms nobody is told.
It is taken when the alarm is over, and lost when the connection, or the broker, ends before.
"""

from __future__ import annotations

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Parameters, Strikes, now
from lossmeter.model import Evidence
from lossmeter.world.site import Alarmable, Site, Watermark
from lossmeter.world.waiting import wait_for

SERVER = "rabbitmq"
# What no node comes below: the least takes some 60 MiB.
WATERMARK_BYTES = 2**20
# The node looks for what is asked of it ten times a second, and tells its state four times.
HEEDED_WITHIN_S = 10.0
LOOK_EVERY_S = 0.1


class MemoryAlarm(Fault[Parameters]):
    """Lowers the watermark of RabbitMQ's memory below what it uses, until it is healed.

    Evidence: the server's own figures, and its alarm; and a publisher of the harness, that is
    told why it waits, and whose message is confirmed again afterwards.
    """

    needs = (Alarmable,)
    servers = (SERVER,)
    strikes = frozenset({Strikes.MEMORY})

    _lowered = False

    def inject(self, site: Site) -> list[Evidence]:
        """Lower the watermark, and see the alarm raised."""
        servers = self.capable(site, Alarmable)
        if SERVER not in site.endpoints:
            raise FaultError(f"{self.name()} needs a target that uses {SERVER}")
        before = servers.watermark(SERVER)
        self._lowered = True
        servers.set_watermark(SERVER, WATERMARK_BYTES)
        meanwhile = _seen(servers, alarm=True)
        why = servers.blocked(SERVER)
        return [
            _memory(f"{SERVER} was below its watermark", before, not before.alarm),
            _memory(f"{SERVER} is above its watermark", meanwhile, meanwhile.alarm),
            now("publisher", f"{SERVER} lets publishers wait", why or "it took one", bool(why)),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Set the watermark back, and see the alarm gone."""
        servers = self.capable(site, Alarmable)
        if not self._lowered:
            return []
        servers.set_watermark(SERVER, None)
        after = _seen(servers, alarm=False)
        why = servers.blocked(SERVER)
        return [
            _memory(f"{SERVER} is below its watermark again", after, not after.alarm),
            now("publisher", f"{SERVER} takes from publishers again", why or "it did", not why),
        ]


def _seen(servers: Alarmable, *, alarm: bool) -> Watermark:
    """Return the last look at the watermark, when the alarm is as it should be or time is up."""
    seen = servers.watermark(SERVER)

    def as_wanted() -> bool:
        nonlocal seen
        seen = servers.watermark(SERVER)
        return seen.alarm == alarm

    wait_for(as_wanted, HEEDED_WITHIN_S, LOOK_EVERY_S)
    return seen


def _memory(claim: str, seen: Watermark, holds: bool) -> Evidence:
    used, limit = seen.used_bytes // 2**20, seen.limit_bytes // 2**20
    said = f"{used} MiB used, watermark at {limit} MiB, {'an' if seen.alarm else 'no'} alarm"
    return now("management", claim, said, holds)
