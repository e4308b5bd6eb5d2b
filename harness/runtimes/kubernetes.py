"""The Kubernetes runtime: targets and servers as pods, in a namespace for each run.

The dispatcher is a Deployment behind a Service, each server a StatefulSet. So is a dispatcher
that asks for ``{instance}``: only there the pod in another one's place has its name again.
Everything is in the run's namespace, whose notes tell whose it is; ``recover`` finds it by
them. Only a cluster that is marked as fit for tests is touched, and nothing in it but that
namespace.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import FaultError, ServiceError, TargetError, UnavailableError
from harness.model import Address
from harness.ownership import Owner
from harness.ports import free_port
from harness.runtime import Order, in_service
from harness.runtimes import _kube_access as access
from harness.runtimes import _kube_manifests as manifests
from harness.runtimes._container_memory import limit, oom_kills, read
from harness.runtimes._docker_parts import memory_folder
from harness.runtimes._instances import part_name
from harness.runtimes._kube_images import NodeImages
from harness.runtimes._kube_lives import STOP_WITHIN_S, Life, freeze
from harness.runtimes._kube_manifests import POD_NAME, Blueprint
from harness.runtimes._kube_pods import Container, Logs, Pods, address_of, is_ready
from harness.runtimes._kube_servers import Servers
from harness.runtimes._kube_space import Space, owned, remove
from harness.runtimes._processes import (
    Child,
    helper_child,
    kill_marked,
    last_lines,
    marked,
)
from harness.runtimes._state import remove_dead, state_folder
from harness.runtimes._target import (
    answers_ok,
    check_attached,
    interpolate,
    no_container,
    shared_folder,
    variables,
)
from harness.service import Service
from harness.site import (
    Drainable,
    Ending,
    Endpoint,
    Event,
    Exit,
    Incarnation,
    Killable,
    Memory,
    MemoryLimited,
    Orchestrated,
    Pausable,
    PodRemovable,
    Probe,
    Proxied,
    ProxyControl,
    Replaceable,
    RestartedByPolicy,
    Rolled,
    Rolling,
    Scalable,
    ServersKillable,
    Startable,
    Stoppable,
    Stopped,
)
from harness.target import Target

TARGET = "target"
LOAD = "load"
LOAD_MIB = 512
SHARED = "/run/lossmeter"
MIN_READY_S = 10.0
READY_POLL_S = 0.05
ROLLED_WITHIN_S = 60.0
SPARE_MIB = 256
_CAN = (
    *(Startable, Stoppable, Replaceable, Ending, Rolling, Orchestrated),
    *(PodRemovable, Drainable, Scalable),
)
# What takes the processes of the pods.
_CAN_HERE = (Killable, Pausable, MemoryLimited, ServersKillable, RestartedByPolicy)


class KubernetesSite:
    """A target and its servers as pods of one namespace."""

    proxies: ProxyControl

    def __init__(self, order: Order, owner: Owner, state: Path, space: Space) -> None:
        self.folder = order.folder
        self.endpoints: Mapping[str, Endpoint] = {}
        where = (str(access.config_file()), access.context())
        self.versions: dict[str, str] = {"engine": access.version_of(where)}
        # They are the namespace's, and go with it.
        self.served = 0
        self._order = order
        self._owner = owner
        self._space = space
        self._helpers: list[Child] = []
        self._expected: set[str] = set()
        self._names: dict[str, str] = {}
        # The lives of the target that are to go on, and the last one that was known.
        self._lives: list[Life] = []
        self._last: Life | None = None
        self._blueprint: Blueprint | None = None
        self._logs = Logs(space.name, order.folder / "logs")
        self._in_service: list[str] = []
        self._node = ""
        self._load_image, self._pull = "", False
        self._here = access.here()
        self._address = access.node_address()
        self._wanted = order.instances
        self._opened = False
        target = order.target
        ports = {} if target.attach else space.publish(TARGET, [_port(target)])
        self.base_url = (
            target.attach.url if target.attach else f"http://{self._address}:{ports[_port(target)]}"
        )
        self.probe: Probe = order.probe(self.base_url)
        self._pods = Pods(space.name, self._changed)
        self._servers = Servers(order, state, self._address, space, self._pods, self._last_lines)
        self._opened = True

    @property
    def base_urls(self) -> Sequence[str]:
        """Return where each instance is found; a single one is found at its service."""
        if self._order.instances == 1:
            return [self.base_url]
        return [self._url(pod) for pod in self._pods.of(TARGET) if address_of(pod)]

    def _url(self, pod: Mapping[str, Any]) -> str:
        return f"http://{address_of(pod)}:{_port(self._order.target)}"

    # What changes by itself.

    def _changed(self) -> None:
        """Follow new logs, and tell load and probe which pods there are now."""
        if not self._opened:
            return
        for part in (TARGET, LOAD, *(service.name for service in self._servers.all)):
            for container in self._pods.running(part):
                self._logs.follow(container, self._name(container))
        if self._order.instances > 1:
            self._publish()

    def _name(self, container: Container) -> str:
        """Return the name of the log: the first pod of a place shares it with those after."""
        if container.part == LOAD:
            return container.pod
        if container.part != TARGET or self._order.instances == 1:
            return container.part
        if container.uid not in self._names:
            present = {pod["metadata"]["uid"] for pod in self._pods.of(TARGET)}
            taken = {self._names[pod] for pod in present if pod in self._names}
            every = [part_name(TARGET, index) for index in range(2 * self._order.instances)]
            self._names[container.uid] = next(name for name in every if name not in taken)
        return self._names[container.uid]

    def _publish(self) -> None:
        """Write down which pods are ready: what a load balancer makes of the endpoints."""
        ready = [self._url(pod) for pod in self._pods.of(TARGET) if is_ready(pod)]
        addresses = sorted(url.removeprefix("http://") for url in ready)
        if addresses != self._in_service:
            self._in_service = addresses
            file = in_service(self.folder)
            partial = file.with_suffix(".tmp")
            partial.write_text("".join(f"{line}\n" for line in addresses), encoding="ascii")
            partial.replace(file)
        urls = self.base_urls
        if urls:
            self.probe.watch(urls)

    # Coming up.

    def start_all(self) -> None:
        """Start the servers, then the target."""
        target = self._order.target
        images = NodeImages(self._order.say)
        try:
            self._bound()
            control = self._servers.start(images)
            if control is not None:
                self.proxies = control
            self.endpoints = self._servers.endpoints
            self.versions |= self._servers.versions
            if target.attach is not None:
                check_attached(target, self.base_url)
                return
            self._blueprint = self._target_blueprint(images)
            if self._order.load_pods:
                self._load_image, self._pull = images.load(), images.pulled
        finally:
            images.close()
        self._space.keep_secret(self._blueprint)
        self._space.run_target(self._blueprint)
        self._wait_target()

    def load_place(self) -> tuple[Address, Address]:
        """Return where load processes find their master, and the target's service inside."""
        inside = Address(self._space.address_of(f"{TARGET}-outside"), _port(self._order.target))
        return Address(access.this_address(), free_port()), inside

    def start_load_pods(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> None:
        """Start the Job of the load."""
        blueprint = Blueprint(
            part=LOAD,
            image=self._load_image,
            ports=[],
            environment=environment,
            arguments=arguments,
            writable=("/tmp", folder),  # noqa: S108 - inside the container
            memory_mib=LOAD_MIB,
            replicas=self._order.load_pods,
            pull=self._pull,
        )
        self._space.keep_secret(blueprint)
        self._space.run_job(blueprint)

    def _bound(self) -> None:
        """Set the quota: as much as is needed, and as much again of what is replaced."""
        target, servers = self._order.target, self._servers.all
        memory = target.container.memory_mib if target.container else 0
        instances, load = self._order.instances, self._order.load_pods
        # Each server may be given as much as the greediest of them.
        self._space.bound(
            pods=len(servers) + 2 * instances + load + 2,
            memory_mib=len(servers) * 1024 + 2 * instances * memory + load * LOAD_MIB + SPARE_MIB,
            node_ports=2 * len(servers) + len(target.proxied) + 4,
            volumes=len(servers),
        )

    def _target_blueprint(self, images: NodeImages) -> Blueprint:
        target, instances = self._order.target, self._order.instances
        if target.start is None or target.container is None:
            raise TargetError(f"target {target.name} is attached; the harness cannot start it")
        container = target.container
        values = variables(
            self.endpoints,
            {
                "python": container.python,
                "host": "0.0.0.0",  # noqa: S104 - inside the container
                "port": str(container.port),
                "instance": f"$({POD_NAME})",
                "run_folder": SHARED,
            },
        )
        wanted = target.start.environment | dict(self._order.settings)
        told = [*wanted.values(), *target.start.command]
        return Blueprint(
            part=TARGET,
            image=images.target(target),
            ports=[container.port],
            environment={n: interpolate(t, values, target.name) for n, t in wanted.items()},
            arguments=[interpolate(part, values, target.name) for part in target.start.command],
            writable=("/tmp",) if self._here else ("/tmp", SHARED),  # noqa: S108 - inside
            memory_mib=container.memory_mib,
            read_only=container.read_only,
            replicas=instances,
            named=any("{instance}" in text for text in told),
            grace_s=self._order.grace_s,
            pre_stop_s=self._order.pre_stop_s,
            ready=(target.http.ready or target.http.health, container.port),
            shared=(shared_folder(self.folder), SHARED) if self._here else None,
            pull=images.pulled,
        )

    def _wait_target(self, without: Sequence[Life] = ()) -> None:
        """Wait until all instances serve, none of them a life that ended.

        Raises:
            TargetError: one ended, or they were not ready in time.
        """
        target = self._order.target
        old = {life.container.id for life in without}
        ends = len(self._pods.ends_of(TARGET))
        url = self.base_url + (target.http.ready or target.http.health)

        def settled() -> bool:
            ended = len(self._pods.ends_of(TARGET)) > ends
            return bool(self._pods.hopeless(TARGET)) or ended or self._all_ready(old, url)

        within_s = target.start.ready_s if target.start else MIN_READY_S
        in_time = self._pods.wait_for(settled, within_s)
        if why := self._pods.hopeless(TARGET):
            raise TargetError(f"target {target.name} cannot be started: {why}")
        new = self._pods.ends_of(TARGET)
        if len(new) > ends:
            raise TargetError(
                f"target {target.name}, asked on {url}, ended with exit code {new[-1].code} "
                f"while starting: {self._last_lines(TARGET)}"
            )
        if not in_time:
            raise TargetError(
                f"target {target.name}, asked on {url}, was not ready within {within_s:g} s: "
                f"{self._last_lines(TARGET)}; {self._pods.waiting_for(TARGET)}"
            )
        self._take_lives()

    def _all_ready(self, old: set[str], url: str) -> bool:
        ready = [pod for pod in self._pods.of(TARGET) if is_ready(pod)]
        running = [c for c in self._pods.running(TARGET) if c.id not in old]
        enough = min(len(ready), len(running)) >= self._wanted
        return enough and (not self._wanted or answers_ok(url))

    def _take_lives(self) -> None:
        known = {life.container.id: life for life in self._lives}
        now = time.time_ns()
        found = []
        for container in self._pods.running(TARGET):
            life = known.get(container.id) or Life.of(container, self._pods, here=self._here)
            if not life.ready_s:
                life = replace(life, ready_s=(now - life.started_ns) / 1e9)
            found.append(life)
        self._lives, self._last = found, found[0]
        self._expected.discard(TARGET)

    # What the run sees.

    def helper(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process of the harness's own; it runs on this machine."""
        child = helper_child(self._owner, self.folder, name, argv, environment)
        self._helpers.append(child)
        return child

    def check(self) -> None:
        """Raise when a server, or the target outside a fault, has ended."""
        for name, life in self._servers.lives.items():
            if name not in self._expected and not life.lives:
                raise ServiceError(self._ended_by_itself(name, name, life))
        if TARGET not in self._expected:
            for life in self._lives:
                if not life.lives:
                    called = f"target {self._order.target.name}"
                    raise TargetError(self._ended_by_itself(called, TARGET, life))

    def _ended_by_itself(self, called: str, part: str, life: Life) -> str:
        code: int | str = "unknown"
        with suppress(FaultError):
            code = life.told(time.time_ns()).code
        return (
            f"{called} ended with exit code {code} in mid-run, which no fault asked for; "
            f"its log says: {self._last_lines(part, 2)}"
        )

    def _last_lines(self, part: str, count: int = 5) -> str:
        return last_lines(self.folder / "logs" / f"{part}.log", count)

    # What faults may do to the target.

    def _present(self) -> Life:
        if self._last is None:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        return self._last

    def incarnation(self) -> Incarnation:
        """Return the present or last life of the target."""
        return self._present().incarnation

    def start(self) -> Incarnation:
        """See the target serve again: the kubelet starts it, or it is asked for anew."""
        before = self._present()
        if self._pods.deleted_ns(before.container.uid) is not None:
            self._change(manifests.scaled(self._wanted))
        self._wait_target([before])
        return self.incarnation()

    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""
        life = self._present()
        self._expected.add(TARGET)
        life.signal(signal.SIGKILL)
        return self._must_end(life)

    def kill_from_host(self) -> int:
        """Send SIGKILL by the host's process id."""
        life = self._present()
        self._expected.add(TARGET)
        return life.signal(signal.SIGKILL)

    def _must_end(self, life: Life, within_s: float = STOP_WITHIN_S) -> Exit:
        at_ns = life.wait(within_s)
        if at_ns is None:
            raise FaultError(f"pod {life.container.pod} still ran {within_s:g} s after SIGKILL")
        self._logs.wait(life.container.id)
        return life.told(at_ns)

    def restart_policy(self, on: bool) -> None:
        """Do nothing: a workload's pods are always started again."""

    def wait_restarted(self, before: Incarnation, timeout_s: float) -> Incarnation | None:
        """Wait for the life after ``before``."""
        deadline = time.monotonic() + timeout_s
        old = [life for life in self._lives if life.pid == before.pid]
        while time.monotonic() < deadline:
            with suppress(TargetError):
                self._wait_target(old)
                return self.incarnation()
        return None

    def stop(self, grace_s: float) -> Stopped:
        """Scale the target down to nothing; its pod gets SIGTERM, the grace, then SIGKILL.

        A grace of 0 is 1 s here: less would take the pod from the API before it has ended,
        and a kubelet gives as much anyway.
        """
        life = self._present()
        self._expected.add(TARGET)
        self._change(manifests.scaled(0))
        self._wait_deleted(life)
        if round(grace_s) != self._grace():
            self._space.delete_pod(life.container.pod, max(1, round(grace_s)))
        return self._stopped(life, 0.0, grace_s)

    def _change(self, change: manifests.Manifest) -> None:
        """Change the workload of the target."""
        if self._blueprint is None:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        self._space.change_target(self._blueprint, change)

    def _wait_deleted(self, life: Life, within_s: float = STOP_WITHIN_S) -> None:
        """Wait until the cluster wishes the end of a pod."""
        pods, container = self._pods, life.container
        if not pods.wait_for(lambda: pods.deleted_ns(container.uid) is not None, within_s):
            raise FaultError(f"pod {container.pod} was not deleted within {within_s:g} s")

    def _grace(self) -> int:
        return round(self._blueprint.grace_s) if self._blueprint else 0

    def _stopped(self, life: Life, pre_stop_s: float, grace_s: float) -> Stopped:
        """Wait for the end of a pod that is deleted, and tell how it came."""
        end = self._must_end(life, grace_s + pre_stop_s + STOP_WITHIN_S)
        uid = life.container.uid
        wished_ns = self._pods.deleted_ns(uid) or end.at_ns
        # The kubelet begins some time after the wish, and says so.
        begun_ns = max(wished_ns, self._pods.killing_ns(uid) or 0)
        asked_ns = min(begun_ns + round(pre_stop_s * 1e9), end.at_ns)
        # The kubelet sends it when the grace is over, and nobody else does.
        killed_ns = end.at_ns if end.signal == signal.SIGKILL else None
        return Stopped(asked_ns, killed_ns, end)

    def replace(self, grace_s: float) -> Stopped:
        """Stop the target and have another pod in its place."""
        stopped = self.stop(grace_s)
        self.start()
        return stopped

    def roll_out(self, pre_stop_s: float, grace_s: float) -> list[Rolled]:
        """Restart the workload: the cluster itself replaces one pod after the other."""
        given = self._blueprint
        if given is None or (given.pre_stop_s, self._grace()) != (pre_stop_s, round(grace_s)):
            raise FaultError(
                f"the pods have a grace of {self._grace()} s, and the rollout was to give them "
                f"{grace_s:g} s with {pre_stop_s:g} s of preStop; the order must say so before"
            )
        before = list(self._lives)
        self._expected.add(TARGET)
        self._change(manifests.restarted(str(time.time_ns())))
        stopped = self._all_stopped(before, pre_stop_s, grace_s)
        self._wait_target(before)
        pairs = zip(before, stopped, self._lives, strict=True)
        return [Rolled(old.incarnation, how, new.incarnation) for old, how, new in pairs]

    def _all_stopped(
        self, lives: Sequence[Life], pre_stop_s: float, grace_s: float
    ) -> list[Stopped]:
        """Wait for the end of each, whichever comes first."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only here

        def stopped(life: Life) -> Stopped:
            self._wait_deleted(life, ROLLED_WITHIN_S + len(lives) * grace_s)
            return self._stopped(life, pre_stop_s, grace_s - pre_stop_s)

        with ThreadPoolExecutor(len(lives)) as pool:
            return list(pool.map(stopped, lives))

    # What a cluster may do to its pods.

    def delete_pod(self, grace_s: float) -> Rolled:
        """Delete the first pod; the cluster puts another in its place at once."""
        life = self._present()
        return self._taken(lambda: self._space.delete_pod(life.container.pod, round(grace_s)))

    def evict_pod(self) -> Rolled:
        """Evict the first pod; it has its own grace."""
        life = self._present()
        return self._taken(lambda: self._evict(life))

    def _evict(self, life: Life) -> None:
        try:
            self._space.evict_pod(life.container.pod)
        except ServiceError as error:
            raise FaultError(str(error)) from None

    def _taken(self, take: Callable[[], None]) -> Rolled:
        life = self._present()
        self._expected.add(TARGET)
        take()
        stopped = self._pod_stopped(life)
        self._wait_target([life])
        return Rolled(life.incarnation, stopped, self._lives[-1].incarnation)

    def _pod_stopped(self, life: Life) -> Stopped:
        self._wait_deleted(life)
        pre_stop_s = self._blueprint.pre_stop_s if self._blueprint else 0.0
        return self._stopped(life, pre_stop_s, self._grace() - pre_stop_s)

    def drain_node(self) -> list[Stopped]:
        """Cordon the node of the first pod, and evict all of the target's that run there."""
        nodes = {life: self._space.node_of(life.container.pod) for life in self._lives}
        self._expected.add(TARGET)
        self._node = nodes[self._present()]
        lives = [life for life, node in nodes.items() if node == self._node]
        self._space.cordon(self._node, closed=True)
        for life in lives:
            self._evict(life)
        return [self._pod_stopped(life) for life in lives]

    def node_open(self) -> bool:
        """Return whether the node takes new pods."""
        return self._space.open(self._node or self._space.node_of(self._present().container.pod))

    def open_node(self) -> Incarnation:
        """Let pods onto the node again."""
        if self._node:
            self._space.cordon(self._node, closed=False)
            self._wait_target(self._lives)
        return self.incarnation()

    def scale(self, instances: int) -> list[Stopped]:
        """Ask the workload for another number of pods, and wait until it is so."""
        before = list(self._lives)
        self._expected.add(TARGET)
        self._wanted = instances
        self._change(manifests.scaled(instances))
        too_many = max(0, len(before) - instances)

        def chosen() -> list[Life]:
            return [one for one in before if self._pods.deleted_ns(one.container.uid) is not None]

        if not self._pods.wait_for(lambda: len(chosen()) >= too_many, STOP_WITHIN_S):
            raise FaultError(f"the cluster did not choose {too_many} pods to end")
        stopped = [self._pod_stopped(life) for life in chosen()]
        self._wait_target(chosen())
        return stopped

    def instances(self) -> int:
        """Return how many pods are ready."""
        return sum(is_ready(pod) for pod in self._pods.of(TARGET))

    def account(self, since_ns: int) -> list[Event]:
        """Return what the API told of the target's pods since then."""
        return self._pods.events(TARGET, since_ns)

    def pause(self) -> str:
        """Freeze the target's processes."""
        return freeze(self._present())

    def resume(self) -> None:
        """Let them go on."""
        life = self._present()
        if life.lives:
            life.signal(signal.SIGCONT, whole=True)

    def memory(self) -> Memory:
        """Read the target's control group; the count of kills is that of the kernel."""
        life = self._present()
        return read(memory_folder(life.pid)) if life.lives else Memory(None, 0, oom_kills())

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Set the limit of memory and swap together; None sets what the manifest asks for."""
        life = self._present()
        if limit_bytes is None and not life.lives:
            # The life after it has the manifest's limit from its start.
            return
        asked = self._blueprint.memory_mib * 2**20 if self._blueprint else 0
        limit(memory_folder(life.pid), limit_bytes or asked)
        if limit_bytes is not None:
            # The kernel may end it at any time from now on.
            self._expected.add(TARGET)

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself."""
        life = self._present()
        at_ns = life.wait(timeout_s)
        if at_ns is None:
            return None
        self._expected.add(TARGET)
        return life.told(at_ns)

    # What faults may do to the servers.

    def server_life(self, name: str) -> Incarnation:
        """Return the present or last life of a server's main process."""
        return self._server(name).incarnation

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end; the kubelet starts it again."""
        life = self._server(name)
        self._expected.add(name)
        life.signal(signal.SIGKILL)
        return self._must_end(life)

    def start_server(self, name: str) -> None:
        """See a server serve again, on the same data."""
        self._servers.wait_ready(name, self._server(name))
        self._expected.discard(name)

    def _server(self, name: str) -> Life:
        lives = self._servers.lives
        if name not in lives:
            raise FaultError(f"the run has no server {name!r}; it has " + ", ".join(lives))
        return lives[name]

    # The end.

    def close(self) -> None:
        """End what is the harness's own; the namespace goes after it."""
        for helper in self._helpers:
            helper.kill()

    def forget(self) -> None:
        """Stop watching, once the namespace is gone."""
        self._logs.close()
        self._pods.close()


class KubernetesRuntime:
    """Brings up sites of pods."""

    name = "kubernetes"
    # Only by name: nobody's cluster is used because it is there.
    preference: int | None = None
    # Beside the container a pod is scheduled, given an address and put in service.
    restart_s = 2.5

    def unavailable(self) -> str | None:
        """Return why no cluster can be used, or None."""
        return access.unavailable()

    def refuses(self, target: Target) -> str | None:
        """Return why this target cannot run here, or None."""
        if why := no_container(target):
            return why
        if target.stages and not access.here():
            return (
                f"target {target.name} marks stages in files, which pods on another machine do "
                "not share with this one; extend its file by one with stages = false"
            )
        return None

    def capabilities(self, target: Target) -> frozenset[type]:
        """Return the capability Protocols that a site of this target will have."""
        if target.attach:
            return frozenset()
        more: set[type] = {Proxied} if target.proxied else set()
        return frozenset(_CAN) | more | (set(_CAN_HERE) if access.here() else set())

    def prepare(
        self, services: Sequence[Service], targets: Sequence[Target], say: Callable[[str], None]
    ) -> None:
        """Build the images that are not there, and give them to the cluster."""
        images = NodeImages(say)
        try:
            for service in services:
                images.server(service)
            for target in targets:
                if target.container is not None:
                    images.target(target)
        finally:
            images.close()

    @contextmanager
    def open(self, order: Order) -> Iterator[KubernetesSite]:
        """Start servers and target; remove the namespace on leaving."""
        if why := self.unavailable():
            raise UnavailableError(why)
        owner = Owner.this_process(order.run_id)
        with ExitStack() as stack:
            state = state_folder(owner, self.name)
            stack.callback(shutil.rmtree, state, ignore_errors=True)
            stack.callback(kill_marked, owner)
            space = Space(owner)
            stack.callback(space.remove)
            site = KubernetesSite(order, owner, state, space)
            stack.callback(site.forget)
            # Removed while it is watched, so that the logs come to their ends.
            stack.callback(space.remove)
            stack.callback(site.close)
            site.start_all()
            yield site

    def recover(self) -> list[str]:
        """Remove what runs of dead harnesses left: namespaces, processes, folders."""
        removed = []
        for owner in {owner for _, owner in marked() if not owner.alive()}:
            removed += [f"{line} of run {owner.run_id}" for line in kill_marked(owner)]
        if self.unavailable() is None:
            removed += _remove_spaces()
        return removed + remove_dead(self.name)


def _remove_spaces() -> list[str]:
    removed = []
    for name, owner in owned().items():
        if not owner.alive():
            lines = remove(name)
            removed += [f"{line} of run {owner.run_id}" for line in lines]
    return removed


def _port(target: Target) -> int:
    return target.container.port if target.container else 0


RUNTIME = KubernetesRuntime()
