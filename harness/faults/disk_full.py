"""The disk that holds a server's data is full: nothing can be added to a table any more.

For PostgreSQL that is the tablespace of its tables. The log of transactions gets a new file
beforehand: without one, the server would end instead of refusing rows.

Parameters:
    servers: names, with spaces between; the first that the target uses is hit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

import psycopg

from harness.errors import FaultError
from harness.faults._lives import capable
from harness.faults._servers import first_of, server_names
from harness.model import Evidence
from harness.site import DiskFillable, Room, Site

NAME = "disk-full"
DEFAULT = "postgres"
NO_SPACE = "No space left on device"
CONNECT_S = 5


class DiskFull:
    """Takes all room on the disk of a server.

    Evidence: the file system's own figures before, meanwhile and afterwards; the disk, which
    takes no write; and the server's log, which tells why it refused.
    """

    needs: tuple[type, ...] = (DiskFillable,)
    way: Literal["any", "proxied", "disk"] = "disk"

    def __init__(self, servers: tuple[str, ...]) -> None:
        self.servers = servers
        self._hit: str | None = None
        self._logged = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Fill it."""
        disks = capable(site, DiskFillable, NAME)
        hit = first_of(site, self.servers, NAME).service
        before = disks.room(hit)
        self._logged = disks.server_log(hit).count(NO_SPACE)
        _give_log_a_file(site, hit)
        self._hit = hit
        disks.fill_disk(hit)
        full = disks.room(hit)
        return [
            _statfs(f"the disk of {hit} had room", before, before.free_bytes > 0),
            _statfs(f"the disk of {hit} has no room", full, full.free_bytes == 0),
            _evidence(
                "disk",
                f"the disk of {hit} takes no write",
                full.refused or "it took one",
                full.refused == NO_SPACE,
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Give the room back."""
        disks = capable(site, DiskFillable, NAME)
        if self._hit is None:
            return []
        disks.clear_disk(self._hit)
        again = disks.room(self._hit)
        told = disks.server_log(self._hit).count(NO_SPACE) - self._logged
        fine = again.free_bytes > 0 and not again.refused
        return [
            _statfs(f"the disk of {self._hit} has room again", again, fine),
            _evidence(
                "server-log",
                f"{self._hit} found no space left on its disk",
                f"{told} times",
                told > 0,
            ),
        ]


def _give_log_a_file(site: Site, server: str) -> None:
    if server != "postgres":
        return
    url = site.endpoints[server].direct["url"]
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            connection.execute("select pg_switch_wal()")
            connection.execute("checkpoint")
    except psycopg.Error as error:
        raise FaultError(f"{NAME}: {server} could not be prepared: {error}") from None


def _statfs(claim: str, room: Room, holds: bool) -> Evidence:
    kib, size_kib = room.free_bytes // 1024, room.size_bytes // 1024
    return _evidence("statfs", claim, f"{kib} of {size_kib} KiB free", holds)


def _evidence(source: str, claim: str, value: str, holds: bool) -> Evidence:
    return Evidence(source, claim, value, holds, time.time_ns())


def build(parameters: Mapping[str, str | int | float]) -> DiskFull:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    return DiskFull(server_names(NAME, parameters, DEFAULT))
