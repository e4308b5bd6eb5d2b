"""The Docker runtime: targets and servers each in a container of their own.

All containers of a run share a network that leads nowhere else. What is published is
published on 127.0.0.1 and keeps its port across restarts. Everything carries the label of the
run or of its servers, by which ``recover`` finds it after the harness itself was killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import FaultError, HarnessError, ServiceError, TargetError
from harness.model import Address
from harness.ownership import Owner
from harness.ports import LOOPBACK
from harness.runtime import Order
from harness.runtimes import _disks
from harness.runtimes._container_memory import oom_kills, read
from harness.runtimes._disks import Disks
from harness.runtimes._docker_engine import connect, unavailable
from harness.runtimes._docker_events import RUN_LABEL, EngineEvents
from harness.runtimes._docker_images import Images
from harness.runtimes._docker_parts import (
    Blueprint,
    Part,
    explained,
    memory_folder,
)
from harness.runtimes._docker_servers import NAME, DockerServers, remove_labelled
from harness.runtimes._instances import Instances, base_urls, part_name, port_of
from harness.runtimes._processes import Child, helper_child, kill_marked, marked
from harness.runtimes._server_set import SERVICE_READY_S, lend
from harness.runtimes._state import remove_dead
from harness.runtimes._target import (
    answers_ok,
    check_attached,
    check_port_free,
    interpolate,
    no_container,
    shared_folder,
    variables,
)
from harness.service import Service
from harness.site import (
    Disconnectable,
    DiskFillable,
    Ending,
    Endpoint,
    Event,
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
    Recorded,
    Replaceable,
    RestartedByPolicy,
    Rolled,
    Rolling,
    ServersKillable,
    ServersLogged,
    Startable,
    Stoppable,
    Stopped,
)
from harness.target import Container, Target

if TYPE_CHECKING:
    import docker

READY_POLL_S = 0.05
TARGET = "target"
SHARED = "/run/lossmeter"
_CAN = (
    *(Startable, Killable, Stoppable, Pausable, MemoryLimited, Disconnectable, Replaceable),
    *(Ending, Recorded, Rolling, ServersKillable, ServersLogged),
)


class DockerSite(Disks):
    """A target and its servers as containers."""

    def __init__(
        self, order: Order, owner: Owner, servers: DockerServers, client: docker.DockerClient
    ) -> None:
        super().__init__(servers.disks)
        self.endpoints: dict[str, Endpoint] = servers.endpoints
        self.folder = order.folder
        self.versions: dict[str, str] = servers.versions
        self.served = servers.served
        self._order = order
        self._owner = owner
        self._servers = servers
        self._client = client
        self._images = Images(client, order.say)
        self._targets: dict[str, Part] = {}
        self._helpers: list[Child] = []
        self._expected: set[str] = set()
        self._ready_s: dict[str, float] = {}
        self.base_urls = base_urls(order)
        self.base_url = self.base_urls[0]
        self._instances = Instances(order.folder, self.base_urls)
        self.probe: Probe = order.probe(self.base_url)
        self._events: EngineEvents | None = None
        if servers.network is not None:
            self._events = EngineEvents({owner, servers.owner})

    @property
    def proxies(self) -> ProxyControl:
        """Return what commands the proxies, where the target has any."""
        return self._servers.proxies

    @property
    def _logs(self) -> Path:
        return self.folder / "logs"

    # What the run sees.

    def helper(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process of the harness's own; it runs beside the containers."""
        child = helper_child(self._owner, self.folder, name, argv, environment)
        self._helpers.append(child)
        return child

    def check_servers(self) -> None:
        """Raise when a server ended before anybody was listening for its end."""
        self._check(self._servers.ended())

    def check(self) -> None:
        """Raise when a server, or the target outside a fault, has ended."""
        self._check(self._ended())

    def _check(self, ended: Mapping[str, int]) -> None:
        for name, code in ended.items():
            if name in self._expected or self._servers.expected(name):
                continue
            ours = name in self._targets
            kind = TargetError if ours else ServiceError
            called = f"target {self._order.target.name}" if ours else name
            said = self._targets[name].last_lines(2) if ours else self._servers.last_lines(name)
            raise kind(
                f"{called} ended with exit code {code} in mid-run, which no fault asked for; "
                f"its log says: {said}"
            )

    def _ended(self) -> dict[str, int]:
        if self._events is not None and not self._events.broken:
            return self._events.ended()
        states = {name: part.state() for name, part in self._targets.items()}
        ended = {n: int(state["ExitCode"]) for n, state in states.items() if not state["Running"]}
        return self._servers.ended() | ended

    # What faults may do to the target.

    def incarnation(self) -> Incarnation:
        """Return the present or last life of the target."""
        return self._life(0)

    def _life(self, index: int) -> Incarnation:
        part = self._target(index)
        return replace(part.incarnation(), ready_s=self._ready_s.get(part.name, 0.0))

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
        name = part_name(TARGET, index)
        if name not in self._targets:
            if self._servers.network is None:
                raise ServiceError("the run has no network")
            blueprint = self._target_blueprint(index)
            made = Part(self._client, self._owner, self._servers.network, blueprint)
            self._targets[name] = made
        part = self._targets[name]
        part.start()
        return self._target_ready(part, index)

    def _target_ready(self, part: Part, index: int = 0) -> Incarnation:
        target = self._order.target
        url = self.base_urls[index] + (target.http.ready or target.http.health)
        ready_s = target.start.ready_s if target.start else SERVICE_READY_S
        why = part.wait_ready(lambda: answers_ok(url), ready_s, self._logs)
        if why is not None:
            raise TargetError(f"target {target.name}, asked on {url}, {why}")
        self._expected.discard(part.name)
        self._ready_s[part.name] = (time.time_ns() - part.incarnation().started_ns) / 1e9
        return self._life(index)

    def _target_blueprint(self, index: int) -> Blueprint:
        target = self._order.target
        if target.start is None or target.container is None:
            raise TargetError(f"target {target.name} is attached; the harness cannot start it")
        port = port_of(self.base_urls[index])
        check_port_free(target, port)
        image = self._images.target(target)
        container = target.container
        values = variables(
            self.endpoints,
            {
                "python": container.python,
                "host": "0.0.0.0",  # noqa: S104 - inside the container
                "port": str(container.port),
                "instance": str(index),
                "run_folder": SHARED,
            },
        )
        wanted = target.start.environment | dict(self._order.settings)
        return Blueprint(
            part=part_name(TARGET, index),
            image=image,
            ports={container.port: Address(LOOPBACK, port)},
            environment={n: interpolate(t, values, target.name) for n, t in wanted.items()},
            command=[interpolate(part, values, target.name) for part in target.start.command],
            mounts=[(shared_folder(self.folder), SHARED, True)],
            volume=None,
            writable=("/tmp",),  # noqa: S108 - inside the container
            memory_mib=container.memory_mib,
            ours=True,
            read_only=container.read_only,
            user=_user(container),
        )

    def _target(self, index: int = 0) -> Part:
        name = part_name(TARGET, index)
        if name not in self._targets:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        return self._targets[name]

    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""
        self._expected.add(TARGET)
        part = self._target()
        part.signal("SIGKILL")
        return part.must_end(self._logs)

    def kill_from_host(self) -> int:
        """Send SIGKILL by the host's process id, behind the engine's back."""
        self._expected.add(TARGET)
        pid = self.incarnation().pid
        now = time.time_ns()
        try:
            os.kill(pid, 9)
        except OSError as error:
            raise FaultError(
                f"process {pid} cannot be killed from here: {error.strerror}"
            ) from None
        return now

    def stop(self, grace_s: float) -> Stopped:
        """Send SIGTERM, wait for the grace, then SIGKILL; by the engine's own stop."""
        return self._stop(0, grace_s)

    def _stop(self, index: int, grace_s: float) -> Stopped:
        part = self._target(index)
        self._expected.add(part.name)
        asked_ns = time.time_ns()
        if grace_s == int(grace_s):
            with explained(f"container {part.name}"):
                part.container.stop(timeout=int(grace_s))
        else:
            part.signal("SIGTERM")
            if part.wait(grace_s) is None:
                part.signal("SIGKILL")
        end = part.must_end(self._logs)
        return Stopped(asked_ns, self._killed_since(part, asked_ns), end)

    def _killed_since(self, part: Part, since_ns: int) -> int | None:
        """Return when SIGKILL was sent, as the engine recorded it."""
        if self._events is None:
            return None
        self._events.wait_end(part.name, part.id, since_ns)
        return next(
            (
                event.at_ns
                for event in self._events.of(part.name, part.id, since_ns)
                if event.action == "kill" and event.attributes.get("signal") == "9"
            ),
            None,
        )

    def events(self, since_ns: int) -> list[Event]:
        """Return what the engine recorded of the target since then."""
        if self._events is None:
            return []
        part = self._target()
        return self._events.of(part.name, part.id, since_ns)

    def replace(self, grace_s: float) -> Stopped:
        """Stop the target, remove its container, and start another in its place."""
        stopped = self._stop(0, grace_s)
        self._renew(0)
        return stopped

    def _renew(self, index: int) -> None:
        self._target(index).renew()
        self._start(index)

    def roll_out(self, pre_stop_s: float, grace_s: float) -> list[Rolled]:
        """Replace each instance by a new container in its turn."""
        return [
            self._instances.roll(
                index,
                partial(self._life, index),
                partial(self._stop, index, grace_s - pre_stop_s),
                partial(self._renew, index),
                pre_stop_s=pre_stop_s,
            )
            for index in range(len(self.base_urls))
        ]

    def pause(self) -> str:
        """Freeze the target's processes."""
        part = self._target()
        with explained(f"container {part.name}"):
            part.container.pause()
        return str(part.state()["Status"])

    def resume(self) -> None:
        """Let them go on."""
        part = self._target()
        if part.state()["Paused"]:
            with explained(f"container {part.name}"):
                part.container.unpause()

    def restart_policy(self, on: bool) -> None:
        """Let the engine start the target again whenever it ends."""
        part = self._target()
        policy: Any = {"Name": "always" if on else "no", "MaximumRetryCount": 0}
        with explained(f"container {part.name}"):
            part.container.update(restart_policy=policy)

    def wait_restarted(self, before: Incarnation, timeout_s: float) -> Incarnation | None:
        """Wait for the life after ``before``."""
        part = self._target()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = part.state()
            if state["Running"] and int(state["Pid"]) not in {0, before.pid}:
                return self._target_ready(part)
            time.sleep(READY_POLL_S)
        return None

    def memory(self) -> Memory:
        """Read the target's control group; the count of kills is that of the kernel."""
        pid = self.incarnation().pid
        return read(memory_folder(pid)) if pid else Memory(None, 0, oom_kills())

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Set the limit of memory and swap together; None sets what it started with."""
        part = self._target()
        limit = limit_bytes or part.blueprint.memory_mib * 2**20
        with explained(f"memory limit of container {part.name}"):
            part.container.update(mem_limit=limit, memswap_limit=limit)
        if limit_bytes is not None:
            # The kernel may end it at any time from now on.
            self._expected.add(TARGET)

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself."""
        end = self._target().wait(timeout_s)
        if end is not None:
            self._expected.add(TARGET)
            self._target().save_log(self._logs)
        return end

    def disconnect(self) -> None:
        """Cut the target off from its network."""
        if (network := self._servers.network) is not None:
            with explained("network of the run"):
                network.disconnect(self._target().container)

    def reconnect(self) -> None:
        """Connect it again under its name."""
        network = self._servers.network
        if network is not None and not self.connected():
            with explained("network of the run"):
                network.connect(self._target().container, aliases=[TARGET])

    def connected(self) -> bool:
        """Return whether the engine says that the target is in the network."""
        network = self._servers.network
        return network is not None and network.name in self._target().networks()

    # What faults may do to the servers.

    def server_life(self, name: str) -> Incarnation:
        """Return the present or last life of a server's main process."""
        return self._servers.life(name)

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end."""
        return self._servers.kill(name)

    def start_server(self, name: str) -> None:
        """Start a server again on the same data."""
        self._servers.start_again(name)

    def server_log(self, name: str) -> str:
        """Return what a server has written in this run so far, as the engine kept it."""
        return self._servers.log(name)

    def cut_power(self, server: str) -> None:
        """Shut the disk of a server down without flushing it; its container has ended."""
        self._servers.strike(server)
        self.disk_of(server).cut()

    # The end.

    def close(self) -> None:
        """Save all logs; what runs is removed by its label."""
        for helper in self._helpers:
            helper.kill()
        for part in self._targets.values():
            with suppress(HarnessError):
                part.save_log(self._logs)
        if self._events is not None:
            self._events.close()


class DockerRuntime:
    """Brings up sites of containers."""

    name = NAME
    # Containers isolate better than processes.
    preference: int | None = 1
    restart_s = 1.5

    def unavailable(self) -> str | None:
        """Return why no Docker engine can be used, or None."""
        return unavailable()

    def refuses(self, target: Target) -> str | None:
        """Return why this target cannot run here, or None."""
        return no_container(target)

    def capabilities(self, target: Target) -> frozenset[type]:
        """Return the capability Protocols that a site of this target will have."""
        if target.attach:
            return frozenset()
        more: set[type] = {Proxied} if target.proxied else set()
        if os.geteuid() == 0:
            more.add(RestartedByPolicy)
        if _disks.unavailable() is None:
            more |= {PowerCut, DiskFillable}
        return frozenset(_CAN) | more

    def prepare(
        self, services: Sequence[Service], targets: Sequence[Target], say: Callable[[str], None]
    ) -> None:
        """Build the images that are not there."""
        client = connect()
        try:
            images = Images(client, say)
            for service in services:
                images.server(service)
            for target in targets:
                if target.container is not None:
                    images.target(target)
        finally:
            client.close()

    @contextmanager
    def open(self, order: Order) -> Iterator[DockerSite]:
        """Start servers and target; on leaving remove what no other run is to have."""
        with ExitStack() as stack:
            servers = stack.enter_context(lend(order, self.name, DockerServers))
            client = connect()
            stack.callback(client.close)
            owner = Owner.this_process(order.run_id)
            # Registered first, so that it runs whatever becomes of an orderly close.
            stack.callback(kill_marked, owner)
            stack.callback(remove_labelled, client, owner)
            site = DockerSite(order, owner, servers, client)
            stack.callback(site.close)
            site.check_servers()
            if order.target.attach is None:
                site.start_all()
            else:
                check_attached(order.target, site.base_url)
            yield site

    def recover(self) -> list[str]:
        """Remove what runs of dead harnesses left: containers, networks, volumes, folders."""
        removed = []
        for owner in {owner for _, owner in marked() if not owner.alive()}:
            removed += [f"{line} of run {owner.run_id}" for line in kill_marked(owner)]
        if unavailable() is None:
            client = connect()
            try:
                dead = [owner for owner in _owners(client) if not owner.alive()]
                removed += remove_labelled(client, *dead)
            finally:
                client.close()
        return removed + remove_dead(self.name)


def _user(container: Container) -> str | None:
    """Return who the target runs as: who started the run, so that its files can be removed."""
    if container.build is None or os.geteuid() == 0:
        return None
    return f"{os.geteuid()}:{os.getegid()}"


def _owners(client: docker.DockerClient) -> set[Owner]:
    """Return whose things there are on the engine."""
    filters: dict[str, str | list[str] | bool] = {"label": RUN_LABEL}
    found: list[Any] = [
        *client.containers.list(all=True, filters=filters, ignore_removed=True),
        *client.networks.list(filters=filters),
        *client.volumes.list(filters=filters),
    ]
    marks = {_labels(thing).get(RUN_LABEL, "") for thing in found}
    return {owner for owner in map(Owner.parse, marks) if owner is not None}


def _labels(thing: Any) -> Mapping[str, str]:
    attributes = thing.attrs
    said: Mapping[str, str] | None = attributes.get("Labels") or attributes.get("Config", {}).get(
        "Labels"
    )
    return said or {}


RUNTIME = DockerRuntime()
