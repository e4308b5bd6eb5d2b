"""All processes that a target brings forth, found whatever they do to hide.

A process is the target's if it is one that was started as such, or is in its control group,
or carries its mark, or descends from one that is, or is in a session that one of them leads.
Orphans fall to this process, where it may keep them. All that were seen are written down with
their start ticks, outside the target's reach, so that ``recover`` finds them after a SIGKILL
of the harness itself; process groups need no look of their own, each lies within a session.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGSTOP

from lossmeter.world.install.cache import state_root
from lossmeter.world.ownership import Owner, keep_orphans, this_boot
from lossmeter.world.process_table import process_table, read
from lossmeter.world.runtimes import _cgroups
from lossmeter.world.runtimes._cgroups import Group
from lossmeter.world.runtimes._processes import (
    STARTED,
    STOP_WITHIN_S,
    Child,
    kill_all,
    line_of,
    may_send,
    owner_of,
)
from lossmeter.world.site import Process

WATCH_EVERY_S = 1.0
LOOKS = 2

Named = tuple[int, int]
"""A process id and its start ticks, which together no other process has."""


class Family:
    """The processes of one owner.

    Args:
        owner: whose they are; a mark of its own, that nothing else carries.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.group = Group(owner) if _cgroups.containing() else None
        self._file = _records() / owner.folder_name
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._known: set[Named] = set()
        # Those of other processes that the harness started, such as servers.
        self._others: set[Named] = set()
        self._unmarked: set[Named] = set()
        self._orphans = keep_orphans()
        self._lock = threading.RLock()
        self._looked = 0.0
        if self._file.exists():
            self._recall()
        self._file.touch()

    def _recall(self) -> None:
        """Take over what another harness wrote down; its orphans have fallen to init."""
        self._orphans = False
        for line in self._file.read_text(encoding="ascii").splitlines():
            # The last one may have been cut off.
            match line.split():
                case [pid, ticks] if pid.isdecimal() and ticks.isdecimal():
                    self._known.add((int(pid), int(ticks)))

    def start(self, make: Callable[[], Child]) -> Child:
        """Start one as a main process of these, and add what it has brought forth by now."""
        # Whoever looks meanwhile must not take it for another process of the harness.
        with self._lock:
            child = make()
            self._remember({(child.pid, child.start_ticks)})
            if self.group is not None:
                self.group.add(child.pid)
            self.processes()
        return child

    def processes(self) -> list[Process]:
        """Return those that run, the oldest first, and write down the new ones."""
        with self._lock:
            table = process_table()
            self._reap(table)
            table = {pid: process for pid, process in table.items() if not process.ended}
            self._note_others(table)
            ours = {pid for pid, process in table.items() if self._certain(process)}
            ours |= (self.group.members() if self.group else set()) & table.keys()
            while more := self._kin(ours, table):
                ours |= more
            found = sorted((table[pid] for pid in ours), key=lambda each: each.start_ticks)
            new = {_named(each) for each in found} - self._known
            self._remember(new)
            self._looked = time.monotonic()
            if self.group is not None:
                # Forked before their parent was put in.
                for pid, _ in new:
                    with suppress(OSError):
                        self.group.add(pid)
        return found

    def watch(self) -> None:
        """Write down the new ones now and then, where no control group holds them together."""
        if self.group is None and time.monotonic() - self._looked > WATCH_EVERY_S:
            self.processes()

    def signal(self, number: int) -> list[int]:
        """Send a signal to all; return the process ids of those that were there."""
        group = self.group
        found = map(read, sorted(group.members())) if group else self.processes()
        return [each.pid for each in found if each and may_send(each, number)]

    def end(self) -> list[str]:
        """Kill all; return a line for each process."""
        lines: list[str] = []
        deadline, empty = time.monotonic() + STOP_WITHIN_S, 0
        # One that goes on by forking may be missed in a single look.
        while empty < LOOKS and time.monotonic() < deadline:
            if self.group is not None:
                self.group.stop()
            found = self.processes()
            empty = 0 if found or (self.group and self.group.members()) else empty + 1
            # One that forks faster than it is found is stopped first.
            for process in found:
                may_send(process, SIGSTOP)
            lines += map(line_of, kill_all(self.processes()))
        return list(dict.fromkeys(lines))

    def close(self) -> list[str]:
        """Kill all and forget them; return a line for each process."""
        lines = self.end()
        if self.group is not None:
            self.group.close()
        self._file.unlink(missing_ok=True)
        return lines

    def _remember(self, new: set[Named]) -> None:
        self._known |= new
        with self._file.open("a", encoding="ascii") as file:
            file.writelines(f"{pid} {ticks}\n" for pid, ticks in sorted(new))

    def _certain(self, process: Process) -> bool:
        """Return whether a process alone shows that it is one of these."""
        named = _named(process)
        if named in self._known:
            return True
        if named in self._others or process.pid == os.getpid():
            return False
        if named in self._unmarked:
            return self._fell_to_us(process)
        owner = owner_of(process.pid)
        if owner is None:
            self._unmarked.add(named)
            return self._fell_to_us(process)
        return owner == self.owner

    def _fell_to_us(self, process: Process) -> bool:
        """Return whether it is an orphan of a process of these."""
        here = self._orphans and process.parent == os.getpid()
        # What the harness starts and waits for is in its own session, or known.
        return here and process.session != os.getsid(0) and _named(process) not in STARTED

    def _kin(self, ours: set[int], table: dict[int, Process]) -> set[int]:
        """Return more that descend from some of these, or are in a session of theirs."""
        led = {pid for pid, _ in self._known} - table.keys()
        # While any process is in a session, the kernel gives its number to no other leader.
        sessions = {table[pid].session for pid in ours} & (ours | led)
        return {
            pid
            for pid, process in table.items()
            if (process.parent in ours or process.session in sessions)
            and pid not in ours
            and pid != os.getpid()
            and _named(process) not in self._others
            and owner_of(pid) in {None, self.owner}
        }

    def _note_others(self, table: dict[int, Process]) -> None:
        """Note what descends from other processes of the harness, before they are orphans."""
        roots = (STARTED - self._known) | self._others
        others = {pid for pid, process in table.items() if _named(process) in roots}
        while more := {
            pid for pid, each in table.items() if pid not in others and each.parent in others
        }:
            others |= more
        self._others |= {_named(table[pid]) for pid in others}

    def _reap(self, table: dict[int, Process]) -> None:
        """Take note of orphans that have ended."""
        for process in table.values():
            ended = process.ended and process.parent == os.getpid()
            if ended and self._fell_to_us(process):
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)


def end_dead() -> list[str]:
    """End the processes of harnesses that no longer run; return a line for each thing."""
    groups, removed = _cgroups.dead_groups(), list[str]()
    recorded = {Owner.of_folder(file.name): file for file in sorted(_records().glob("*"))}
    dead = {owner for owner in {*groups, *recorded} if owner is not None and not owner.alive()}
    for owner in sorted(dead, key=lambda each: each.mark):
        if owner.world.partition(".")[0] == this_boot():
            removed += [f"{line} of run {owner.run_id}" for line in Family(owner).close()]
        else:
            # The process ids of another boot mean nothing now.
            recorded[owner].unlink()
        if owner in groups and not groups[owner].exists():
            removed.append(f"control group {groups[owner].name}")
    return removed


def kill_own_targets() -> None:
    """Send SIGKILL to what targets of this process have brought forth, and wait for nothing."""
    for file in sorted(_records().glob("*")):
        owner = Owner.of_folder(file.name)
        if owner is not None and owner.pid == os.getpid() and owner.alive():
            for process in Family(owner).processes():
                may_send(process, SIGKILL)


def _records() -> Path:
    return state_root() / "processes"


def _named(process: Process) -> Named:
    return process.pid, process.start_ticks
