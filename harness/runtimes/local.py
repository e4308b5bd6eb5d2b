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
from functools import partial
from pathlib import Path

import psutil

from harness.errors import FaultError, ServiceError, TargetError, UsageError
from harness.ownership import Owner
from harness.ports import LOOPBACK
from harness.runtime import Order
from harness.runtimes import _cgroups, _disks
from harness.runtimes._cgroups import MemoryGroup
from harness.runtimes._disks import Disks
from harness.runtimes._instances import Instances, base_urls, part_name, port_of
from harness.runtimes._local_servers import NAME, LocalServers
from harness.runtimes._processes import (
    Child,
    helper_child,
    kill_marked,
    marked,
)
from harness.runtimes._server_set import lend
from harness.runtimes._state import remove_dead
from harness.runtimes._target import (
    answers_ok,
    check_attached,
    check_port_free,
    interpolate,
    shared_folder,
    variables,
)
from harness.service import Service
from harness.site import (
    DiskFillable,
    Ending,
    Endpoint,
    Exit,
    Incarnation,
    Killable,
    Memory,
    MemoryLimited,
    Pausable,
    PowerCut,
    Probe,
    Proxied,
    ProxyControl,
    Replaceable,
    Rolled,
    Rolling,
    ServersKillable,
    ServersLogged,
    Startable,
    Stoppable,
    Stopped,
)
from harness.target import Target

PAUSED_WITHIN_S = 1.0
_CAN = (
    *(Startable, Ending, Killable, Stoppable, Pausable, Replaceable, Rolling),
    *(ServersKillable, ServersLogged),
)


class LocalSite(Disks):
    """A target as a local process, with its servers.

    Args:
        order: what was asked for.
        owner: whose the run's processes are.
        servers: those that it uses.
    """

    def __init__(self, order: Order, owner: Owner, servers: LocalServers) -> None:
        super().__init__(servers.disks)
        self.endpoints: dict[str, Endpoint] = servers.endpoints
        self.folder = order.folder
        self.versions: dict[str, str] = servers.versions
        self.served = servers.served
        self._order = order
        self._owner = owner
        self._servers = servers
        self._helpers: list[Child] = []
        self._targets: dict[int, Child] = {}
        self._expected_ends: set[int] = set()
        self._memory: MemoryGroup | None = None
        self.base_urls = base_urls(order)
        self.base_url = self.base_urls[0]
        self._instances = Instances(order.folder, self.base_urls)
        self.probe: Probe = order.probe(self.base_url)
        if order.target.start is not None and _cgroups.available():
            self._memory = MemoryGroup(owner)

    @property
    def proxies(self) -> ProxyControl:
        """Return what commands the proxies, where the target has any."""
        return self._servers.proxies

    # What the run sees.

    def helper(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process of the harness's own."""
        child = helper_child(self._owner, self.folder, name, argv, environment)
        self._helpers.append(child)
        return child

    def check(self) -> None:
        """Raise when a server, or the target outside a fault, has ended."""
        for name, code in self._servers.ended().items():
            if not self._servers.expected(name):
                raise ServiceError(
                    f"{name} ended with exit code {code} in mid-run, which no fault asked for; "
                    f"its log says: {self._servers.last_lines(name)}"
                )
        for index, child in self._targets.items():
            if index not in self._expected_ends and child.poll() is not None:
                raise TargetError(
                    f"target {self._order.target.name} ended with exit code {child.poll()} "
                    f"in mid-run, which no fault asked for; its log says: {child.last_lines(2)}"
                )

    # What faults may do to the target.

    def incarnation(self) -> Incarnation:
        """Return the present or last life of the target."""
        return self._life(0)

    def _life(self, index: int) -> Incarnation:
        return self._running_target(index).life

    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""
        self._expected_ends.add(0)
        return self._running_target().kill()

    def start(self) -> Incarnation:
        """Start the target and wait until it says that it is ready."""
        return self._start(0)

    def start_all(self) -> None:
        """Start every instance of the target, one after the other."""
        for index in range(len(self.base_urls)):
            self._start(index)
        for disk in self.disks.values():
            disk.flush()

    def _start(self, index: int) -> Incarnation:
        target = self._order.target
        if target.start is None:
            raise TargetError(f"target {target.name} is attached; the harness cannot start it")
        check_port_free(target, port_of(self.base_urls[index]))
        values = self._variables(index)
        argv = [interpolate(part, values, target.name) for part in target.start.command]
        environment = {
            name: interpolate(text, values, target.name)
            for name, text in (target.start.environment | dict(self._order.settings)).items()
        }
        try:
            name = part_name("target", index)
            child = helper_child(self._owner, self.folder, name, argv, environment)
        except OSError as error:
            raise UsageError(
                f"target {target.name}: command {argv[0]!r} cannot be started: {error.strerror}"
            ) from None
        self._targets[index] = child
        if self._memory is not None:
            self._memory.add(child.pid)
        self._wait_ready(target, index, target.start.ready_s)
        self._expected_ends.discard(index)
        return self._life(index)

    def stop(self, grace_s: float) -> Stopped:
        """Send SIGTERM, wait for the grace, then send SIGKILL if it still runs."""
        return self._stop(0, grace_s)

    def _stop(self, index: int, grace_s: float) -> Stopped:
        self._expected_ends.add(index)
        child = self._running_target(index)
        asked_ns = time.time_ns()
        child.popen.send_signal(signal.SIGTERM)
        try:
            return Stopped(asked_ns, None, child.wait(grace_s))
        except subprocess.TimeoutExpired:
            killed_ns = time.time_ns()
            return Stopped(asked_ns, killed_ns, child.kill())

    def roll_out(self, pre_stop_s: float, grace_s: float) -> list[Rolled]:
        """Replace each instance in its turn."""
        return [
            self._instances.roll(
                index,
                partial(self._life, index),
                partial(self._stop, index, grace_s - pre_stop_s),
                partial(self._start, index),
                pre_stop_s=pre_stop_s,
            )
            for index in range(len(self.base_urls))
        ]

    def replace(self, grace_s: float) -> Stopped:
        """Stop the target and start another process in its place."""
        stopped = self.stop(grace_s)
        self.start()
        return stopped

    def pause(self) -> str:
        """Stop the target's process by SIGSTOP and return its state as the kernel tells it."""
        child = self._running_target()
        child.popen.send_signal(signal.SIGSTOP)
        process = psutil.Process(child.pid)
        deadline = time.monotonic() + PAUSED_WITHIN_S
        while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
            time.sleep(0.001)
        return str(process.status())

    def resume(self) -> None:
        """Let it go on."""
        child = self._running_target()
        if child.poll() is None:
            child.popen.send_signal(signal.SIGCONT)

    def memory(self) -> Memory:
        """Read the control group that the target runs in."""
        return self._memory_group().read()

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Set the limit of its control group, or lift it."""
        self._memory_group().limit(limit_bytes)
        # The kernel may end it at any time from now on.
        if limit_bytes is not None:
            self._expected_ends.add(0)

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself."""
        try:
            end = self._running_target().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._expected_ends.add(0)
        return end

    def _memory_group(self) -> MemoryGroup:
        if self._memory is None:
            raise FaultError("this user may not make memory control groups on this machine")
        return self._memory

    # What faults may do to the servers.

    def server_life(self, name: str) -> Incarnation:
        """Return the present or last life of a server's main process."""
        return self._servers.life(name)

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end."""
        return self._servers.kill(name)

    def start_server(self, name: str) -> None:
        """Start a server again on the same data and address."""
        self._servers.start_again(name)

    def server_log(self, name: str) -> str:
        """Return what a server has written in this run so far."""
        return self._servers.log(name)

    def cut_power(self, server: str) -> None:
        """End what a server left running, and shut its disk down without flushing it."""
        disk = self.disk_of(server)
        self._servers.kill_rest(server)
        disk.cut()

    def _running_target(self, index: int = 0) -> Child:
        if index not in self._targets:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        return self._targets[index]

    def _variables(self, index: int) -> dict[str, str]:
        own = {
            "python": sys.executable,
            "host": LOOPBACK,
            "port": str(port_of(self.base_urls[index])),
            "instance": str(index),
            "run_folder": str(shared_folder(self.folder)),
        }
        return variables(self.endpoints, own)

    def _wait_ready(self, target: Target, index: int, ready_s: float) -> None:
        child = self._running_target(index)
        url = self.base_urls[index] + (target.http.ready or target.http.health)
        why = child.wait_ready(lambda: answers_ok(url), ready_s)
        if why is not None:
            raise TargetError(f"target {target.name}, asked on {url}, {why}")

    # The end.

    def close(self) -> None:
        """Stop everything, the last started first; what resists is killed."""
        for helper in self._helpers:
            helper.kill()
        for child in self._targets.values():
            if child.poll() is None:
                child.popen.kill()
                child.popen.wait()
        if self._memory is not None:
            self._memory.close()


class LocalRuntime:
    """Brings up sites of local processes."""

    name = NAME
    preference: int | None = 0
    restart_s = 1.5

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
        """Bring the servers into the cache, side by side."""
        del targets
        lacking = [service for service in services if service.missing() is not None]
        with ThreadPoolExecutor(max(1, len(lacking))) as pool:
            for done in [pool.submit(service.install, say) for service in lacking]:
                done.result()

    def capabilities(self, target: Target) -> frozenset[type]:
        """Return the capability Protocols that a site of this target will have."""
        if target.attach:
            return frozenset()
        more: set[type] = {Proxied} if target.proxied else set()
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
            # Registered first, so that it runs whatever becomes of an orderly close.
            stack.callback(kill_marked, owner)
            site = LocalSite(order, owner, servers)
            stack.callback(site.close)
            if order.target.attach is None:
                site.start_all()
            else:
                check_attached(order.target, site.base_url)
            yield site

    def recover(self) -> list[str]:
        """Kill processes and remove folders of harnesses that no longer run."""
        removed = []
        for owner in {owner for _, owner in marked() if not owner.alive()}:
            removed += [f"{line} of run {owner.run_id}" for line in kill_marked(owner)]
        removed += _cgroups.remove_dead()
        removed += remove_dead(self.name)
        return removed


RUNTIME = LocalRuntime()
