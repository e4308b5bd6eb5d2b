"""The local runtime: real servers and targets as processes of this user.

Needs no container engine. Everything listens on 127.0.0.1; everything started carries the
run's mark, so that ``recover`` finds it after the harness itself was killed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lossmeter.errors import FaultError, TargetError, UnavailableError, UsageError
from lossmeter.model import Address
from lossmeter.plan.target import Target
from lossmeter.world import process_table
from lossmeter.world.install import environments
from lossmeter.world.interpolation import interpolate, variables
from lossmeter.world.isolation import target_environment
from lossmeter.world.ownership import Owner
from lossmeter.world.ports import LOOPBACK, is_free
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes import _cgroups, _disks
from lossmeter.world.runtimes._cgroups import Group
from lossmeter.world.runtimes._family import Family
from lossmeter.world.runtimes._health import question
from lossmeter.world.runtimes._instances import Part, neighbours
from lossmeter.world.runtimes._local_servers import NAME, LocalServers
from lossmeter.world.runtimes._processes import (
    Child,
    ends_well,
    helper_child,
    kill_all,
    kill_marked,
    line_of,
    may_send,
)
from lossmeter.world.runtimes._served_site import ServedSite
from lossmeter.world.runtimes._server_set import lend
from lossmeter.world.runtimes._shared_folder import SharedFolder
from lossmeter.world.runtimes._state import remove_dead
from lossmeter.world.runtimes._target import (
    called,
    check_port_free,
    holding,
    not_ready,
    one_of,
)
from lossmeter.world.service import Service
from lossmeter.world.site import (
    Alarmable,
    DiskFillable,
    Ending,
    Exit,
    Grouped,
    Incarnation,
    Killable,
    Memory,
    MemoryLimited,
    Pausable,
    PowerCut,
    Process,
    ProcessTree,
    Proxied,
    Replaceable,
    Rolling,
    RowsRemovable,
    ServersKillable,
    ServersLogged,
    Startable,
    Stoppable,
    Stopped,
)

PAUSED_WITHIN_S = 1.0
# An ended one does not run on either.
_STILL = frozenset({"stopped", "zombie", "dead", "X"})
_CAN = (
    *(Startable, Ending, Killable, ProcessTree, Stoppable, Pausable, Replaceable, Rolling),
    *(ServersKillable, ServersLogged, Alarmable, Grouped),
)


class LocalSite(ServedSite):
    """A target as local processes, with its servers.

    Args:
        order: what was asked for.
        owner: whose the run's processes are.
        servers: those that it uses.
        shared: the folder that the target may write into; it runs as this user.
    """

    def __init__(
        self,
        order: Order,
        owner: Owner,
        servers: LocalServers,
        shared: SharedFolder,
    ) -> None:
        super().__init__(order, owner, servers, shared)
        self._servers = servers
        # All processes that each part brings forth.
        self.families = [
            Family(Owner.this_process(f"{order.run_id}.target-{number}"))
            for number in range(len(self._parts))
        ]
        self._targets: dict[int, Child] = {}
        self._removed: dict[int, list[str]] = {}

    def check(self) -> None:
        """Raise when a server, or the target outside a fault, has ended or begun anew."""
        for family in self.families:
            family.watch()
        super().check()

    def _ended_targets(self) -> Mapping[int, int]:
        codes = {index: child.poll() for index, child in self._targets.items()}
        return {index: code for index, code in codes.items() if code is not None}

    def _last_lines(self, index: int) -> str:
        return self._targets[index].last_lines(2)

    # What faults may do to the target.

    def _lifetime(self, index: int) -> Incarnation:
        return self._running_target(index).lifetime

    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""
        self._expected.add(self._at)
        return self._running_target(self._at).kill()

    def processes(self) -> list[Process]:
        """Return what runs of the target, the oldest first."""
        return self.families[self._at].processes()

    def removed(self) -> list[str]:
        """Return a line for each that outlived a main process and kept its port from the next."""
        return self._removed.get(self._at, [])

    def kill_process(self, pid: int) -> int:
        """Send SIGKILL to one of them; return the wall clock, nanoseconds."""
        chosen = one_of(self.processes(), pid)
        self._expected.add(self._at)
        now = time.time_ns()
        may_send(chosen, signal.SIGKILL)
        return now

    def kill_tree(self) -> Exit:
        """Send SIGKILL to all of them; return how the main process ended."""
        self._expected.add(self._at)
        self.families[self._at].end()
        return self._running_target(self._at).wait(PAUSED_WITHIN_S)

    def _start(self, index: int) -> Incarnation:
        target, part, family = self._order.target, self._parts[index], self.families[index]
        self._take_port_back(index)
        check_port_free(target, part)
        values = self._variables(part)
        process = part.process
        argv = [interpolate(word, values, target.name) for word in process.command]
        environment = target_environment(process.command, own=target.own_python) | {
            name: interpolate(text, values, target.name)
            for name, text in (process.environment | dict(self._order.settings)).items()
        }
        try:
            child = self._targets[index] = family.start(
                lambda: helper_child(
                    family.owner, self.folder, part.name, argv, environment, process.folder
                )
            )
        except OSError as error:
            raise UsageError(
                f"{called(target, part)}: command {argv[0]!r} cannot be started: {error.strerror}"
            ) from None

        def succeeds(command: Sequence[str]) -> bool:
            words = [interpolate(word, values, target.name) for word in command]
            return ends_well(words, environment, process.folder)

        asked, healthy = question(target, part, child.written, succeeds)
        why = child.wait_ready(healthy, process.ready_s)
        if why is not None:
            raise not_ready(target, part, asked, why)
        self._expected.discard(index)
        return self._lifetime(index)

    def _take_port_back(self, index: int) -> None:
        """End what outlived a main process and keeps the port from the next."""
        port, family = self._parts[index].port, self.families[index]
        # Of several that share a socket only one is named at a time.
        while port is not None and not is_free(LOOPBACK, port):
            holders = set(holding(port))
            gone = kill_all(each for each in family.processes() if each.pid in holders)
            if not gone:
                return
            self._removed.setdefault(index, []).extend(map(line_of, gone))

    def _renew(self, index: int) -> None:
        self._start(index)

    def _stop(self, index: int, grace_s: float) -> Stopped:
        self._expected.add(index)
        child, asks = self._running_target(index), self._parts[index].process.signal
        asked_ns = time.time_ns()
        child.popen.send_signal(asks)
        try:
            return Stopped(asked_ns, None, child.wait(grace_s), asks)
        except subprocess.TimeoutExpired:
            killed_ns = time.time_ns()
            return Stopped(asked_ns, killed_ns, child.kill(), asks)

    def pause(self) -> str:
        """Stop the target's processes by SIGSTOP; return the state of one as the kernel has it.

        Of several it is that of one that runs on, where any does.
        """
        child = self._running_target(self._at)
        child.popen.send_signal(signal.SIGSTOP)
        others = self.families[self._at].signal(signal.SIGSTOP)
        states = [process_table.wait_stopped(pid, PAUSED_WITHIN_S) for pid in (child.pid, *others)]
        return next((state for state in states if state not in _STILL), states[0])

    def resume(self) -> None:
        """Let them go on."""
        self.families[self._at].signal(signal.SIGCONT)

    def memory(self) -> Memory:
        """Read the control group that the target runs in."""
        return self._group().read()

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Set the limit of its control group, or lift it."""
        self._group().limit(limit_bytes)
        # The kernel may end it at any time from now on.
        if limit_bytes is not None:
            self._expected.add(self._at)

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself."""
        try:
            end = self._running_target(self._at).wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._expected.add(self._at)
        return end

    def _group(self) -> Group:
        if (group := self.families[self._at].group) is None:
            raise FaultError("this user may not make memory control groups on this machine")
        return group

    def cut_power(self, server: str) -> None:
        """End what a server left running, and shut its disk down without flushing it."""
        disk = self.disk_of(server)
        self._servers.kill_rest(server)
        disk.cut()

    def _running_target(self, index: int) -> Child:
        if index not in self._targets:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        return self._targets[index]

    def _variables(self, part: Part) -> dict[str, str]:
        own = {
            "python": sys.executable,
            "host": LOOPBACK,
            "port": str(part.port),
            "instance": str(part.number),
            "run_folder": str(self.shared.path),
            **environments.bring(self._order.target),
        }
        others = neighbours(self._parts, lambda other: Address(LOOPBACK, other.port or 0))
        return variables(self.endpoints, own | others)

    def processes_by_name(self) -> Mapping[str, Sequence[int]]:
        """Return the ids of the processes of the target, the servers and the helpers."""
        found = {child.name: [child.pid] for child in self._helpers}
        found |= {name: [pid] for name, pid in self._servers.pids().items()}
        every = [each for family in self.families for each in family.processes()]
        return found | {"target": [each.pid for each in every]}

    # The end.

    def close(self) -> None:
        """End the harness's own processes and all of the target's."""
        super().close()
        sessions = {child.pid for child in self._targets.values()}
        every = [each for family in self.families for each in family.processes()]
        left = [each for each in every if each.session not in sessions]
        for child in self._targets.values():
            child.popen.kill()
            child.popen.wait()
        for family in self.families:
            family.close()
        if left:
            names = ", ".join(f"{each.pid} ({each.name})" for each in left)
            self._order.say(f"killed what the target had run in other sessions: {names}")


class LocalRuntime:
    """Brings up sites of local processes."""

    name = NAME
    preference: int | None = 0
    restart_s = 1.5
    side_by_side = True

    def unavailable(self) -> str | None:
        """Return why this machine cannot run local processes as the harness needs them."""
        if not Path("/proc/self/stat").exists():
            return "the local runtime needs Linux with /proc"
        return None

    def refuses(self, target: Target) -> str | None:
        """Return None: what has a command or a URL can run here."""
        del target
        return None

    def prepare(
        self, services: Sequence[Service], targets: Sequence[Target], say: Callable[[str], None]
    ) -> None:
        """Bring the servers into the cache, side by side, and what targets have of their own."""
        # What no download mends is told before the first of them.
        if why := next(filter(None, (service.unfit() for service in services)), None):
            raise UnavailableError(why)
        lacking = [service for service in services if service.missing() is not None]
        with ThreadPoolExecutor(max(1, len(lacking))) as pool:
            for done in [pool.submit(service.install, say) for service in lacking]:
                done.result()
        for target in targets:
            environments.bring(target, say)

    def capabilities(self, target: Target) -> frozenset[type]:
        """Return the capability Protocols that a site of this target will have."""
        if target.attach:
            return frozenset()
        more: set[type] = {Proxied} if target.proxied else set()
        if target.persisted.remove:
            more.add(RowsRemovable)
        if _cgroups.available():
            more.add(MemoryLimited)
        if _disks.unavailable() is None:
            more |= {PowerCut, DiskFillable}
        return frozenset(_CAN) | more

    @contextmanager
    def open(self, order: Order) -> Iterator[LocalSite]:
        """Start servers and target; on leaving stop what no other run is to have."""
        with ExitStack() as stack:
            servers = stack.enter_context(lend(order, self.name, LocalServers))
            owner = Owner.this_process(order.run_id)
            # Registered first, so that they run whatever becomes of an orderly close.
            stack.callback(kill_marked, owner)
            site = LocalSite(order, owner, servers, SharedFolder(order.folder))
            for family in site.families:
                stack.callback(family.close)
            stack.callback(site.close)
            site.start_all()
            yield site

    def recover(self) -> list[str]:
        """Remove the folders of harnesses that no longer run."""
        return remove_dead(self.name)


RUNTIME = LocalRuntime()
