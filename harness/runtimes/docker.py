"""The Docker runtime: targets and servers each in a container of their own.

All containers of a run share a network that leads nowhere else. What is published is
published on 127.0.0.1 and keeps its port across restarts. Everything carries the run's
label, by which ``recover`` finds it after the harness itself was killed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import FaultError, HarnessError, ServiceError, TargetError
from harness.model import Address
from harness.ownership import Owner
from harness.ports import LOOPBACK, free_ports
from harness.runtime import Order
from harness.runtimes import _disks
from harness.runtimes._container_memory import oom_kills, read
from harness.runtimes._disks import Disks, LoopDisk, mounted_at, unmount_below
from harness.runtimes._docker_engine import connect, engine_version, host, unavailable
from harness.runtimes._docker_events import RUN_LABEL, EngineEvents
from harness.runtimes._docker_images import Images, replaced
from harness.runtimes._docker_parts import (
    STOP_WITHIN_S,
    Blueprint,
    Part,
    explained,
    labels,
    memory_folder,
)
from harness.runtimes._instances import Instances, base_urls, part_name, port_of
from harness.runtimes._processes import Child, base_environment, kill_marked, marked
from harness.runtimes._state import remove_dead, state_folder
from harness.runtimes._target import (
    answers_ok,
    check_attached,
    check_port_free,
    interpolate,
    no_container,
    shared_folder,
    variables,
)
from harness.service import ContainerSpec, Service, Slot
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
    from docker.models.networks import Network

SERVICE_READY_S = 60.0
READY_POLL_S = 0.05
FIRST_PROXY_PORT = 20001
TARGET = "target"
SHARED = "/run/lossmeter"
_CAN = (
    *(Startable, Killable, Stoppable, Pausable, MemoryLimited, Disconnectable, Replaceable),
    *(Ending, Recorded, Rolling, ServersKillable, ServersLogged),
)


class DockerSite(Disks):
    """A target and its servers as containers."""

    proxies: ProxyControl

    def __init__(
        self, order: Order, owner: Owner, state: Path, client: docker.DockerClient
    ) -> None:
        super().__init__()
        self.endpoints: dict[str, Endpoint] = {}
        self.folder = order.folder
        self.versions: dict[str, str] = {"engine": engine_version(host())}
        self._order = order
        self._owner = owner
        self._state = state
        self._client = client
        self._images = Images(client, order.say)
        self._parts: dict[str, Part] = {}
        self._slots: dict[str, Slot] = {}
        self._fronts: dict[str, Address] = {}
        self._helpers: list[Child] = []
        self._expected: set[str] = set()
        self._network: Network | None = None
        self._events: EngineEvents | None = None
        self._ready_s: dict[str, float] = {}
        self.base_urls = base_urls(order)
        self.base_url = self.base_urls[0]
        self._instances = Instances(order.folder, self.base_urls)
        self.probe: Probe = order.probe(self.base_url)

    # The servers.

    def start_servers(self) -> None:
        """Start all servers side by side and put the proxies in front of them."""
        services = list(self._order.services)
        if self._order.proxy is not None:
            services.append(self._order.proxy)
        if not services and self._order.target.attach is not None:
            return
        with explained("network of the run"):
            self._network = self._client.networks.create(
                f"lossmeter-{self._owner.run_id}",
                driver="bridge",
                labels=labels(self._owner, "network"),
                # Nothing in a run has business outside.
                options={"com.docker.network.bridge.enable_ip_masquerade": "false"},
                check_duplicate=True,
            )
        self._events = EngineEvents(self._owner)
        own = {port_of(url) for url in self.base_urls}
        wanted = len(services) + len(self._order.target.proxied) + len(own)
        free = [port for port in free_ports(wanted) if port not in own]
        outside = {service.name: Address(LOOPBACK, free.pop()) for service in services}
        self._fronts = {name: Address(LOOPBACK, free.pop()) for name in self._order.target.proxied}
        images = {service.name: self._images.server(service) for service in services}
        with ThreadPoolExecutor(max(1, len(services))) as pool:
            started = [
                pool.submit(self._start_server, service, outside[service.name], images)
                for service in services
            ]
            for future in started:
                future.result()
        for service in self._order.services:
            self.endpoints[service.name] = self._endpoint(service)
        self._put_proxies()

    def _start_server(self, service: Service, outside: Address, images: Mapping[str, str]) -> None:
        folder = self._state / service.name
        folder.mkdir(mode=0o700)
        if service.name in self._order.disks:
            disk = LoopDisk(self._state / "disks" / service.name, folder / "disk")
            # Whoever the server in the container is, it makes a folder of its own there.
            disk.point.chmod(0o1777)
            self.disks[service.name] = disk
        advertised = Address(service.name, service.port)
        if service.name in self._fronts:
            advertised = Address(self._proxy_name(), self._front_inside(service.name))
        settings = self._order.servers.get(service.name, {})
        slot = Slot(folder, outside, advertised, secrets.token_urlsafe(18), settings)
        spec = service.container(slot)
        part = self._part(self._blueprint(service, slot, spec, images[service.name]))
        self._slots[service.name] = slot
        part.start()
        self._wait_server(service, slot)
        self._check_on_disk(service.name, spec)
        said = service.running_version(slot)
        ours = replaced(service.name) is None
        self.versions[service.name] = said or (
            service.version() if ours else f"image {images[service.name]}"
        )
        self._order.say(f"{self.versions[service.name]} ready on {slot.listen}")

    def _check_on_disk(self, name: str, spec: ContainerSpec) -> None:
        """Make sure that the container really writes to the disk that is to lose power."""
        if name not in self.disks or spec.data is None:
            return
        inside = mounted_at(Path(spec.data), self._parts[name].incarnation().pid)
        device = self.disks[name].look().device
        if inside is None or inside.device != device:
            raise ServiceError(
                f"{name} keeps its data on {inside.device if inside else 'its root'} and not on "
                f"{device}; the Docker engine does not see the mounts of this machine"
            )

    def _blueprint(
        self, service: Service, slot: Slot, spec: ContainerSpec, image: str
    ) -> Blueprint:
        ours = replaced(service.name) is None
        ports = {spec.published: slot.listen}
        if self._order.proxy is not None and service.name == self._order.proxy.name:
            # So that the harness can measure through the proxy what the target meets there.
            ports |= {self._front_inside(name): front for name, front in self._fronts.items()}
        mounts = [(path, inside, False) for inside, path in spec.files.items()]
        disk = self.disks.get(service.name)
        if disk is not None and spec.data is not None:
            mounts.append((disk.point, spec.data, True))
        return Blueprint(
            part=service.name,
            image=image,
            ports=ports,
            environment=spec.environment,
            command=spec.command,
            mounts=mounts,
            volume=spec.data if disk is None else None,
            writable=spec.writable,
            memory_mib=spec.memory_mib,
            ours=ours,
            # An image of somebody else's may write where it likes.
            read_only=ours,
            stop_signal=spec.stop_signal,
        )

    def _wait_server(self, service: Service, slot: Slot) -> None:
        why = self._wait_ready(
            self._parts[service.name], lambda: service.ready(slot), SERVICE_READY_S
        )
        if why is not None:
            raise ServiceError(f"{service.name} {why}")

    def _endpoint(self, service: Service) -> Endpoint:
        slot = self._slots[service.name]
        return Endpoint(
            service.name,
            slot.listen,
            service.variables(slot, slot.advertised),
            service.variables(slot, slot.listen),
            self._fronts.get(service.name),
        )

    def _proxy_name(self) -> str:
        if self._order.proxy is None:
            raise ServiceError("the target names proxied servers, and there is no proxy")
        return self._order.proxy.name

    def _front_inside(self, name: str) -> int:
        return FIRST_PROXY_PORT + list(self._fronts).index(name)

    def _put_proxies(self) -> None:
        if self._order.proxy is None:
            return
        self.proxies = self._order.proxy_control(self._slots[self._order.proxy.name].listen)
        for service in self._order.services:
            if service.name in self._fronts:
                inside = Address("0.0.0.0", self._front_inside(service.name))  # noqa: S104
                self.proxies.create(service.name, inside, Address(service.name, service.port))

    def _part(self, blueprint: Blueprint) -> Part:
        if self._network is None:
            raise ServiceError("the run has no network")
        part = Part(self._client, self._owner, self._network, blueprint)
        self._parts[blueprint.part] = part
        return part

    def _wait_ready(self, part: Part, ready: Callable[[], bool], within_s: float) -> str | None:
        """Wait until it says that it is ready; return None, or why it is not."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            state = part.state()
            # Asked first: if it has ended, whoever answers in its place is somebody else.
            if not state["Running"]:
                part.save_log(self.folder / "logs")
                return (
                    f"ended with exit code {state['ExitCode']} while starting: {part.last_lines()}"
                )
            if ready():
                part.save_log(self.folder / "logs")
                return None
            time.sleep(READY_POLL_S)
        part.save_log(self.folder / "logs")
        return f"was not ready within {within_s:g} s: {part.last_lines()}"

    # What the run sees.

    def helper(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process of the harness's own; it runs beside the containers."""
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        everything = base_environment(self._owner) | dict(environment)
        child = Child(name, argv, everything, log=log)
        self._helpers.append(child)
        return child

    def check(self) -> None:
        """Raise when a server, or the target outside a fault, has ended."""
        for name, code in self._ended().items():
            if name in self._expected:
                continue
            ours = name not in self._slots
            kind = TargetError if ours else ServiceError
            called = f"target {self._order.target.name}" if ours else name
            raise kind(
                f"{called} ended with exit code {code} in mid-run, which no fault asked for; "
                f"its log says: {self._parts[name].last_lines(2)}"
            )

    def _ended(self) -> dict[str, int]:
        if self._events is not None and not self._events.broken:
            return self._events.ended()
        states = {name: part.state() for name, part in self._parts.items()}
        return {n: int(state["ExitCode"]) for n, state in states.items() if not state["Running"]}

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
        if name in self._parts:
            part = self._parts[name]
        else:
            part = self._part(self._target_blueprint(index))
        part.start()
        return self._target_ready(part, index)

    def _target_ready(self, part: Part, index: int = 0) -> Incarnation:
        target = self._order.target
        url = self.base_urls[index] + (target.http.ready or target.http.health)
        ready_s = target.start.ready_s if target.start else SERVICE_READY_S
        why = self._wait_ready(part, lambda: answers_ok(url), ready_s)
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
        if name not in self._parts:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        return self._parts[name]

    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""
        self._expected.add(TARGET)
        part = self._target()
        part.signal("SIGKILL")
        return self._must_end(part)

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

    def _must_end(self, part: Part) -> Exit:
        end = part.wait(STOP_WITHIN_S)
        if end is None:
            raise FaultError(f"container {part.name} still ran {STOP_WITHIN_S:g} s after SIGKILL")
        part.save_log(self.folder / "logs")
        return end

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
        end = self._must_end(part)
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
            self._target().save_log(self.folder / "logs")
        return end

    def disconnect(self) -> None:
        """Cut the target off from its network."""
        if self._network is not None:
            with explained("network of the run"):
                self._network.disconnect(self._target().container)

    def reconnect(self) -> None:
        """Connect it again under its name."""
        if self._network is not None and not self.connected():
            with explained("network of the run"):
                self._network.connect(self._target().container, aliases=[TARGET])

    def connected(self) -> bool:
        """Return whether the engine says that the target is in the network."""
        return self._network is not None and self._network.name in self._target().networks()

    # What faults may do to the servers.

    def server_life(self, name: str) -> Incarnation:
        """Return the present or last life of a server's main process."""
        return self._server(name).incarnation()

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end."""
        self._expected.add(name)
        part = self._server(name)
        part.signal("SIGKILL")
        return self._must_end(part)

    def start_server(self, name: str) -> None:
        """Start a server again on the same data."""
        part = self._server(name)
        part.start()
        known = [*self._order.services, *([self._order.proxy] if self._order.proxy else [])]
        service = next(service for service in known if service.name == name)
        self._wait_server(service, self._slots[name])
        self._expected.discard(name)

    def server_log(self, name: str) -> str:
        """Return what a server has written so far, as the engine kept it."""
        return self._server(name).log().decode(errors="replace")

    def cut_power(self, server: str) -> None:
        """Shut the disk of a server down without flushing it; its container has ended."""
        self.disk_of(server).cut()

    def _server(self, name: str) -> Part:
        if name not in self._slots:
            raise FaultError(f"the run has no server {name!r}; it has " + ", ".join(self._slots))
        return self._parts[name]

    # The end.

    def close(self) -> None:
        """Save all logs; what runs is removed by its label."""
        for helper in self._helpers:
            helper.kill()
        for part in self._parts.values():
            with suppress(HarnessError):
                part.save_log(self.folder / "logs")
        if self._events is not None:
            self._events.close()


class DockerRuntime:
    """Brings up sites of containers."""

    name = "docker"
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
        """Start servers and target; remove them all on leaving."""
        owner = Owner.this_process(order.run_id)
        with ExitStack() as stack:
            state = state_folder(owner, self.name)
            stack.callback(shutil.rmtree, state, ignore_errors=True)
            stack.callback(unmount_below, state)
            client = connect()
            stack.callback(client.close)
            # Registered first, so that it runs whatever becomes of an orderly close.
            stack.callback(kill_marked, owner)
            stack.callback(_remove, client, owner.mark)
            site = DockerSite(order, owner, state, client)
            stack.callback(site.close)
            site.start_servers()
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
                for owner in _owners(client):
                    if not owner.alive():
                        lines = _remove(client, owner.mark)
                        removed += [f"{line} of run {owner.run_id}" for line in lines]
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


def _remove(client: docker.DockerClient, mark: str) -> list[str]:
    """Remove containers, networks and volumes with a run's label; return a line for each."""
    from docker.errors import APIError, NotFound  # noqa: PLC0415 - heavy

    filters: dict[str, str | list[str] | bool] = {"label": f"{RUN_LABEL}={mark}"}
    removed = []

    def remove(kind: str, thing: Any, **options: bool) -> str:
        try:
            thing.remove(**options)
        except NotFound:
            return ""
        except APIError as error:
            return f"not {kind} {thing.name}: {error.explanation}"
        return f"{kind} {thing.name}"

    containers = client.containers.list(all=True, filters=filters, ignore_removed=True)
    with ThreadPoolExecutor(max(1, len(containers))) as pool:
        removed += list(pool.map(lambda c: remove("container", c, force=True, v=True), containers))
    removed += [remove("network", n) for n in client.networks.list(filters=filters)]
    removed += [remove("volume", v, force=True) for v in client.volumes.list(filters=filters)]
    return [line for line in removed if line]


RUNTIME = DockerRuntime()
