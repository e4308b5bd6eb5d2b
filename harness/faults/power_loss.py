"""The machine loses power: the target and its servers end, and so does all not flushed.

Parameters:
    servers: names, with spaces between, of those whose disks lose power with the target;
        those that the target does not use are passed over.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import FaultError
from harness.faults._lives import Before, capable, ended, gap, new_boot, new_life, seen_again
from harness.faults._servers import server_names
from harness.model import Evidence
from harness.site import Disk, Exit, PowerCut, Site

NAME = "power-loss"
DEFAULT = "postgres redis kafka"

# What a server writes into its log when it finds that it was not shut down.
RECOVERY_LINES: Mapping[str, str] = {"postgres": "was not properly shut down"}
# What tells that a server's file had to be mended before it could start.
MENDED_LINES: Mapping[str, str] = {"redis": "Successfully truncated AOF"}


@dataclass(frozen=True, slots=True)
class _Server:
    """One server before the power goes."""

    name: str
    before: Before
    recoveries: int
    mended: int


class PowerLoss:
    """Kills the target and its servers at once, drops what was not flushed, starts them again.

    Evidence: how each process ended; the mount table, which shows the server's disk before
    the cut, as shut down after it, and in order later; the disk, which takes no write after
    the cut; the kernel's start times of the new processes; PostgreSQL's log, which tells of
    its recovery; the gap in the health probe and the target's own name for its life.
    """

    needs: tuple[type, ...] = (PowerCut,)
    way: Literal["any", "proxied", "disk"] = "disk"

    def __init__(self, servers: tuple[str, ...]) -> None:
        self.servers = servers
        self._target: Before | None = None
        self._hit: list[_Server] = []
        self._ended_ns = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Look at the disks, end everything, cut the power."""
        machine = capable(site, PowerCut, NAME)
        names = [name for name in self.servers if name in site.endpoints]
        evidence = [_mounted(name, machine.disk(name)) for name in names]
        if not all(each.holds for each in evidence):
            raise FaultError(f"{NAME}: {evidence[0].value}; without a disk nothing would be lost")
        self._target = Before.look(machine, site.probe.samples())
        self._hit = [
            _Server(
                name,
                Before(machine.server_life(name), None, time.time_ns()),
                _logged(site, name, RECOVERY_LINES),
                _logged(site, name, MENDED_LINES),
            )
            for name in names
        ]
        evidence += self._end_all(machine)
        for name in names:
            machine.cut_power(name)
            evidence += _cut(name, machine.disk(name))
        return evidence

    def heal(self, site: Site) -> list[Evidence]:
        """Give the disks power again and start everything."""
        machine = capable(site, PowerCut, NAME)
        if self._target is None:
            return []
        for server in self._hit:
            machine.restore_power(server.name)
        evidence = [_back(server.name, machine.disk(server.name)) for server in self._hit]
        for server in self._hit:
            machine.start_server(server.name)
            evidence.append(new_life(server.before, machine.server_life(server.name)))
            evidence += [*_recovered(site, server), *_mended(site, server)]
        after = machine.start()
        again = seen_again(site)
        return [
            *evidence,
            new_life(self._target, after),
            gap(site, self._ended_ns, again),
            *new_boot(self._target, again),
        ]

    def _end_all(self, machine: PowerCut) -> list[Evidence]:
        """Kill everything side by side: a machine has one plug."""
        with ThreadPoolExecutor(len(self._hit) + 1) as pool:
            target = pool.submit(machine.kill)
            servers = [(s, pool.submit(machine.kill_server, s.name)) for s in self._hit]
            ends = [(s.name, s.before, future.result()) for s, future in servers]
        if self._target is not None:
            ends.append(("the target", self._target, target.result()))
        self._ended_ns = target.result().at_ns
        return [_killed(name, before, end) for name, before, end in ends]


def _killed(name: str, before: Before, end: Exit) -> Evidence:
    claim = f"the process of {name} was ended by SIGKILL"
    return ended(before, end, claim, end.signal == signal.SIGKILL)


def _mounted(name: str, disk: Disk) -> Evidence:
    told = f"{disk.device} takes writes" if not disk.refused else disk.refused
    claim = f"{name} keeps its data on a disk of its own"
    return _evidence("mount-table", claim, told, bool(disk.device) and not disk.refused)


def _cut(name: str, disk: Disk) -> list[Evidence]:
    state = "shut down" if disk.shut_down else "in order"
    return [
        _evidence(
            "mount-table",
            f"the disk of {name} was shut down without flushing",
            f"{disk.device} is {state}",
            disk.shut_down,
        ),
        _evidence(
            "disk",
            f"the disk of {name} takes no write any more",
            disk.refused or "it took one",
            bool(disk.refused) and bool(disk.device),
        ),
    ]


def _back(name: str, disk: Disk) -> Evidence:
    fine = bool(disk.device) and not disk.shut_down and not disk.refused
    told = f"{disk.device or 'no disk'}, {disk.refused or 'takes writes'}"
    return _evidence("mount-table", f"the disk of {name} was mounted anew", told, fine)


def _logged(site: Site, name: str, lines: Mapping[str, str]) -> int:
    log: Path = site.folder / "logs" / f"{name}.log"
    if name not in lines or not log.exists():
        return 0
    return log.read_text(encoding="utf-8", errors="replace").count(lines[name])


def _recovered(site: Site, server: _Server) -> list[Evidence]:
    if server.name not in RECOVERY_LINES:
        return []
    more = _logged(site, server.name, RECOVERY_LINES) - server.recoveries
    claim = f"{server.name} found that it had not been shut down"
    return [_evidence("server-log", claim, f"{more} times", more > 0)]


def _mended(site: Site, server: _Server) -> list[Evidence]:
    """Return that a file had to be mended, where it had; without power loss none has."""
    more = _logged(site, server.name, MENDED_LINES) - server.mended
    claim = f"the file of {server.name} ended in what was never flushed, and was cut off there"
    return [_evidence("server-log", claim, f"{more} times", True)] if more else []


def _evidence(source: str, claim: str, value: str, holds: bool) -> Evidence:
    return Evidence(source, claim, value, holds, time.time_ns())


def build(parameters: Mapping[str, str | int | float]) -> PowerLoss:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    return PowerLoss(server_names(NAME, parameters, DEFAULT))
