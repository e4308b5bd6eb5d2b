"""The disk that holds a server's data is full: nothing can be added to a table any more.

For PostgreSQL that is the tablespace of its tables. The log of transactions gets a new file
beforehand: without one, the server would end instead of refusing rows.
"""

from __future__ import annotations

import psycopg

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Strikes, now
from lossmeter.faults._servers import AtServer, Names, ServerNames, said_since
from lossmeter.model import Evidence, plural
from lossmeter.world.sessions import connect
from lossmeter.world.site import DiskFillable, Room, Site

NO_SPACE = "No space left on device"
CONNECT_S = 5


class Takes(ServerNames):
    """Which server is struck."""

    servers: Names = ("postgres",)


class DiskFull(AtServer[Takes]):
    """Takes all room on the disk of a server.

    Evidence: the file system's own figures before, meanwhile and afterwards; the disk, which
    takes no write; and the server's log, which says why it refused.
    """

    takes = Takes
    needs = (DiskFillable,)
    strikes = frozenset({Strikes.DISK})
    whole_machine = True

    _logged = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Fill it."""
        disks = self.capable(site, DiskFillable)
        endpoint = self.find(site)
        hit = endpoint.service
        before = disks.room(hit)
        self._logged = disks.server_log(hit).count(NO_SPACE)
        _give_log_a_file(site, hit)
        self._hit = endpoint
        disks.fill_disk(hit)
        full = disks.room(hit)
        return [
            _statfs(f"the disk of {hit} had room", before, before.free_bytes > 0),
            _statfs(f"the disk of {hit} has no room", full, full.free_bytes == 0),
            now(
                "disk",
                f"the disk of {hit} takes no write",
                full.refused or "it took one",
                full.refused == NO_SPACE,
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Give the room back."""
        disks = self.capable(site, DiskFillable)
        if self._hit is None:
            return []
        hit = self._hit.service
        disks.clear_disk(hit)
        again = disks.room(hit)
        said = said_since(lambda: disks.server_log(hit), NO_SPACE, self._logged)
        fine = again.free_bytes > 0 and not again.refused
        return [
            _statfs(f"the disk of {hit} has room again", again, fine),
            now(
                "server-log",
                f"{hit} found no space left on its disk",
                plural(said, "time"),
                said > 0,
            ),
        ]


def _give_log_a_file(site: Site, server: str) -> None:
    if server != "postgres":
        return
    url = site.endpoints[server].direct["url"]
    try:
        with connect(url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            connection.execute("select pg_switch_wal()")
            connection.execute("checkpoint")
    except psycopg.Error as error:
        raise FaultError(f"disk-full: {server} could not be prepared: {error}") from None


def _statfs(claim: str, room: Room, holds: bool) -> Evidence:
    kib, size_kib = room.free_bytes // 1024, room.size_bytes // 1024
    return now("statfs", claim, f"{kib} of {size_kib} KiB free", holds)
