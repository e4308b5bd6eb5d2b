"""The machine loses power: the target and its servers end, and so does all not flushed."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Strikes, now
from lossmeter.faults._lifetimes import Before, ended, new_process, outlived, serves_again
from lossmeter.faults._servers import ServerNames
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Disk, Exit, LogLine, PowerCut, Site


@dataclass(frozen=True, slots=True)
class _Server:
    """One server before the power goes."""

    name: str
    before: Before
    recoveries: int
    mended: int


class PowerLoss(Fault[ServerNames]):
    """Kills the target and its servers at once, drops what was not flushed, starts them again.

    The servers are those that are named, or all that the target uses.

    Evidence: how each process ended; the mount table, which shows the server's disk before
    the cut, as shut down after it, and in order later; the disk, which takes no write after
    the cut; the kernel's start times of the new processes; the servers' logs, which tell of
    their recovery; the gap in the health probe and the target's boot id.
    """

    takes = ServerNames
    needs = (PowerCut,)
    strikes = frozenset({Strikes.TARGET, Strikes.DISK})
    every_server = True
    takes_away = True
    kills = True
    whole_machine = True

    _target: Before | None = None
    _hit: Sequence[_Server] = ()
    _ended_ns = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Look at the disks, end everything, cut the power."""
        machine = self.capable(site, PowerCut)
        names = [n for n in self.asked.servers or site.endpoints if n in site.endpoints]
        evidence = [_mounted(name, machine.disk(name)) for name in names]
        if not all(each.holds for each in evidence):
            raise FaultError(
                f"power-loss: {evidence[0].value}; without a disk nothing would be lost"
            )
        self._target = Before.look(machine, site.probe.samples())
        self._hit = [
            _Server(
                name,
                Before(machine.server_lifetime(name), None, time.time_ns()),
                _logged(site, name, "recovered"),
                _logged(site, name, "mended"),
            )
            for name in names
        ]
        evidence += self._end_all(machine)
        evidence += outlived(site, self._target.process.pid)
        for name in names:
            machine.cut_power(name)
            evidence += _cut(name, machine.disk(name))
        return evidence

    def heal(self, site: Site) -> list[Evidence]:
        """Give the disks power again and start everything."""
        machine = self.capable(site, PowerCut)
        if self._target is None:
            return []
        for server in self._hit:
            machine.restore_power(server.name)
        evidence = [_back(server.name, machine.disk(server.name)) for server in self._hit]
        for server in self._hit:
            machine.start_server(server.name)
            evidence.append(new_process(server.before, machine.server_lifetime(server.name)))
            evidence += [*_recovered(site, server), *_mended(site, server)]
        after = machine.start()
        return [*evidence, *serves_again(site, self._target, after, self._ended_ns)]

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
    said = f"{disk.device} takes writes" if not disk.refused else disk.refused
    claim = f"{name} keeps its data on a disk of its own"
    return now("mount-table", claim, said, bool(disk.device) and not disk.refused)


def _cut(name: str, disk: Disk) -> list[Evidence]:
    state = "shut down" if disk.shut_down else "in order"
    return [
        now(
            "mount-table",
            f"the disk of {name} was shut down without flushing",
            f"{disk.device} is {state}",
            disk.shut_down,
        ),
        now(
            "disk",
            f"the disk of {name} takes no write any more",
            disk.refused or "it took one",
            bool(disk.refused) and bool(disk.device),
        ),
    ]


def _back(name: str, disk: Disk) -> Evidence:
    fine = bool(disk.device) and not disk.shut_down and not disk.refused
    said = f"{disk.device or 'no disk'}, {disk.refused or 'takes writes'}"
    return now("mount-table", f"the disk of {name} was mounted anew", said, fine)


def _logged(site: Site, name: str, what: LogLine) -> int:
    line = site.endpoints[name].log_lines.get(what)
    return site.log(name).count(line) if line else 0


def _recovered(site: Site, server: _Server) -> list[Evidence]:
    if "recovered" not in site.endpoints[server.name].log_lines:
        return []
    more = _logged(site, server.name, "recovered") - server.recoveries
    claim = f"{server.name} found that it had not been shut down"
    return [now("server-log", claim, plural(more, "time"), more > 0)]


def _mended(site: Site, server: _Server) -> list[Evidence]:
    """Return that a file had to be mended, where it had; without power loss none has."""
    more = _logged(site, server.name, "mended") - server.mended
    claim = f"the file of {server.name} ended in what was never flushed, and was cut off there"
    return [now("server-log", claim, plural(more, "time"), True)] if more else []
