"""The target of a run as pods: one workload for each of its processes, started in their order."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from lossmeter.errors import FaultError, ServiceError, TargetError
from lossmeter.model import Address
from lossmeter.plan.http import Http
from lossmeter.plan.processes import Process
from lossmeter.plan.target import Target
from lossmeter.world.interpolation import interpolate, variables
from lossmeter.world.ownership import Owner
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes._health import in_words, runs_s_of, takes_connections
from lossmeter.world.runtimes._instances import Part, neighbours, parts_of
from lossmeter.world.runtimes._kube_images import NodeImages
from lossmeter.world.runtimes._kube_lifetimes import ContainerLifetime
from lossmeter.world.runtimes._kube_logs import Logs
from lossmeter.world.runtimes._kube_manifests import POD_NAME, Blueprint
from lossmeter.world.runtimes._kube_pods import PodContainer, Pods, Terminated, address_of
from lossmeter.world.runtimes._kube_servers import KubeServers
from lossmeter.world.runtimes._kube_space import Namespace
from lossmeter.world.runtimes._kube_workload import Balancer, Workload
from lossmeter.world.runtimes._own_image import stands_for
from lossmeter.world.runtimes._processes import Child, last_lines
from lossmeter.world.runtimes._shared_folder import SharedFolder
from lossmeter.world.runtimes._target import answers_ok, not_ready
from lossmeter.world.site import Endpoint, Event, Probe, ProxyControl

LOAD = "load"
SHARED = "/run/lossmeter"
# What a pod of a target is given to end whose file has no word for it, as elsewhere in a cluster.
USUAL_GRACE_S = 30.0


class TargetPods:
    """The half of a site that looks after the target.

    Args:
        order: what was asked for.
        owner: whose the run's processes are.
        state: folder for the servers' configuration.
        space: the run's namespace.
        shared: the folder that the target may write into.
    """

    proxies: ProxyControl

    def __init__(
        self, order: Order, owner: Owner, state: Path, space: Namespace, shared: SharedFolder
    ) -> None:
        self.folder = order.folder
        self.endpoints: Mapping[str, Endpoint] = {}
        where = (str(access.config_file()), access.context())
        self.versions: dict[str, str] = {"engine": access.version_of(where)}
        # They are the namespace's, and go with it.
        self.served = 0
        self._order = order
        self._owner = owner
        self._space = space
        self._shared = shared
        self._helpers: list[Child] = []
        # Servers and parts of the target that a fault has ended, or may.
        self._expected: set[str] = set()
        self._logs = Logs(space.name, order.folder / "logs")
        self._load_image, self._pull = "", False
        self._here = access.here()
        self._address = access.node_address()
        self._parts: dict[str, Part] = {}
        self._inside: dict[str, Address] = {}
        self._works: dict[str, Workload] = {}
        # None until all there is to be looked at is known.
        self._balancer: Balancer | None = None
        target = order.target
        self.base_url = target.attach.url if target.attach else self._publish()
        self.probe: Probe = order.probe(self.base_url)
        self._pods = Pods(space.name, self._changed)
        self._servers = KubeServers(
            order, state, self._address, space, self._pods, self._last_lines
        )
        for process in target.processes:
            names = [each.name for each in self._parts.values() if each.process == process]
            self._works[process.name] = Workload(process, names, self._pods, space)
        self.parts: Sequence[str] = list(self._parts)
        self.part = self._front.names[0] if self.parts else ""
        # Whether it is about one part and no other.
        self.alone = False
        self.watched = not self.parts or len(self._front.names) == 1
        self._balancer = Balancer(order.folder, self._pods, target.front, self._url, self.probe)

    def _publish(self) -> str:
        """Create the services in front of the target; return where it is found from here."""
        target, reached = self._order.target, dict[str, Address]()
        for process in target.processes:
            port = target.container_of(process).port
            if process.name != target.front and not process.listens:
                continue
            # By a port of the node, since addresses of services mean nothing outside.
            node_port = self._space.publish(process.name, [port])[port]
            inside = self._space.address_of(f"{process.name}-outside")
            reached[process.name] = Address(self._address, node_port)
            self._inside[process.name] = Address(inside, port)
        for part in parts_of(self._order):
            # Through the service in front of its process, if it listens.
            at = reached.get(part.process.name)
            found = replace(part, host=at.host, port=at.port) if at else replace(part, port=None)
            self._parts[part.name] = found
        return f"{target.http.scheme}://{reached[target.front]}"

    @property
    def _front(self) -> Workload:
        return self._works[self._order.target.front]

    @property
    def base_urls(self) -> Sequence[str]:
        """Return where each instance is found; a single one is found at its service."""
        if self._balancer is None or not self.parts or len(self._front.names) == 1:
            return [self.base_url]
        return self._balancer.base_urls

    def _url(self, pod: Mapping[str, Any]) -> str:
        target = self._order.target
        return f"{target.http.scheme}://{address_of(pod)}:{port_of(target)}"

    # What there is of it.

    def at(self, part: str) -> Self:
        """Return the same site, about another part of the target.

        Raises:
            FaultError: there is none of that name.
        """
        if part not in self.parts:
            raise FaultError(f"the target has no part {part!r}; it has {', '.join(self.parts)}")
        other = copy(self)
        other.part, other.alone = part, True
        front = part in self._front.names
        other.base_url = self.base_url if front else self._parts[part].url
        other.watched = self._front.names == [part]
        return other

    @property
    def grace_s(self) -> float:
        """Return what its file gives this part to end, in seconds; 0 for what runs already."""
        return self._work.process.grace_s if self.parts else 0.0

    @property
    def _work(self) -> Workload:
        """Return the workload of the part that this site is about."""
        if not self.parts:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        return self._works[self._parts[self.part].process.name]

    def account(self, since_ns: int) -> list[Event]:
        """Return what the API told of the target's pods since then; of one part where asked so."""
        if not self.alone:
            return self._pods.events(self._works, since_ns)
        work = self._work
        events, own = self._pods.events([work.part], since_ns), work.pods_of(self.part)
        return [event for event in events if event.attributes["pod"] in own]

    # What changes by itself.

    def _changed(self) -> None:
        """Follow new logs, and tell load and probe which pods there are now."""
        if self._balancer is None:
            return
        for part in (*self._works, LOAD, *(service.name for service in self._servers.all)):
            for container in self._pods.running(part):
                self._logs.follow(container, self._log_of(container))
        self._balance()

    def _balance(self) -> None:
        if self._balancer is not None and len(self._front.names if self.parts else ()) > 1:
            self._balancer.publish()

    def _log_of(self, container: PodContainer) -> str:
        if container.part in self._works:
            return self._works[container.part].place_of(container)
        return container.pod if container.part == LOAD else container.part

    def _last_lines(self, part: str, count: int = 5) -> str:
        return last_lines(self.folder / "logs" / f"{part}.log", count)

    # Its start.

    def _blueprint(self, process: Process, images: NodeImages) -> Blueprint:
        order, target = self._order, self._order.target
        container, front = target.container_of(process), process.name == target.front
        own = {
            **stands_for(target, container),
            "host": "0.0.0.0",  # noqa: S104 - inside the container
            "port": str(container.port),
            "instance": f"$({POD_NAME})",
            "run_folder": SHARED,
        }
        others = neighbours(list(self._parts.values()), lambda o: self._inside[o.process.name])
        values = variables(self.endpoints, own | others)

        def filled(texts: Iterable[str]) -> list[str]:
            return [interpolate(text, values, target.name) for text in texts]

        wanted = process.environment | dict(order.settings)
        health = process.health
        if health is not None and health.command is not None:
            health = health.model_copy(update={"command": tuple(filled(health.command))})
        asked = front and health is not None and health.http is not None
        usual_s = USUAL_GRACE_S if target.start else process.grace_s
        return Blueprint(
            part=process.name,
            image=images.process(target, process),
            ports=[container.port],
            environment=dict(zip(wanted, filled(wanted.values()), strict=True)),
            arguments=filled(process.command),
            writable=("/tmp",) if self._here else ("/tmp", SHARED),  # noqa: S108 - inside
            memory_mib=container.memory_mib,
            read_only=container.read_only,
            replicas=target.count_of(process, order.instances),
            named=any("{instance}" in text for text in (*wanted.values(), *process.command)),
            grace_s=order.grace_s if front and order.grace_s is not None else usual_s,
            pre_stop_s=order.pre_stop_s if front else 0.0,
            ready=(self._spoken_to(process), container.port) if asked else None,
            health=None if asked else health,
            shared=(self._shared.path, SHARED) if self._here else None,
            pull=images.pulled,
        )

    def _spoken_to(self, process: Process) -> Http:
        path = process.health.http if process.health else None
        return self._order.target.http.model_copy(update={"ready": path})

    def _start_target(self, images: NodeImages) -> None:
        """Start each process in their order, every instance of one healthy before the next."""
        for work in self._works.values():
            work.start(self._blueprint(work.process, images))
            self._wait_up(work, work.names)

    def _wait_up(
        self, work: Workload, names: Sequence[str], without: Sequence[ContainerLifetime] = ()
    ) -> None:
        """Wait until parts are up, none of them in a lifetime that ended.

        Raises:
            TargetError: one ended, or they were not ready in time.
        """
        if not names:
            return
        old = {each.container.id for each in without}

        def ends_one(end: Terminated) -> bool:
            return work.concerns(end.uid, names)

        def healthy() -> bool:
            return not self._unhealthy(work, names, old)

        within_s = work.process.ready_s
        why = self._pods.why_not_up(work.part, healthy, within_s, ends_one, old)
        if why is not None:
            name = next(iter(self._unhealthy(work, names, old)), names[0])
            part = self._parts[name]
            asked = in_words(self._order.target, part)
            raise not_ready(self._order.target, part, asked, f"{why}: {self._last_lines(name)}")
        self._take_lifetimes(work, names, old)

    def _unhealthy(self, work: Workload, names: Sequence[str], old: Collection[str]) -> list[str]:
        """Return which of some parts are not healthy by now."""
        serving = work.serving(old)
        front = work is self._front and self._front.process.health
        if front and front.http is not None and not set(names) - set(serving):
            http = self._spoken_to(work.process)
            return [] if answers_ok(self.base_url, http) else list(names)
        return [
            name
            for name in names
            if name not in serving or not self._healthy(self._parts[name], serving[name])
        ]

    def _healthy(self, part: Part, container: PodContainer) -> bool:
        """Return whether a part is healthy whose pod is ready, which a kubelet has asked it."""
        health = part.process.health
        with suppress(ServiceError):
            if health is not None and health.log is not None:
                return health.log in self._space.written_by(container.pod)
            if health is None or health.runs_s is not None:
                lifetime = ContainerLifetime.of(container, self._pods, here=self._here)
                return time.time_ns() - lifetime.started_ns >= runs_s_of(part) * 1e9
            # What starts after it finds it by its service, which leads to it somewhat later.
            return part.port is None or takes_connections(Address(part.host, part.port))
        return False

    def _take_lifetimes(self, work: Workload, names: Sequence[str], old: Collection[str]) -> None:
        now = time.time_ns()
        for name, container in work.serving(old).items():
            known = work.lifetimes.get(name)
            if name in names and (known is None or known.container.id != container.id):
                lifetime = ContainerLifetime.of(container, self._pods, here=self._here)
                ready_s = (now - lifetime.started_ns) / 1e9
                work.lifetimes[name] = replace(lifetime, ready_s=ready_s)
        self._expected -= set(names)
        # The watch tells who waits before it tells the load.
        self._balance()


def port_of(target: Target) -> int:
    """Return where a target takes requests in its pods; 0 where it is attached."""
    front = next((each for each in target.processes if each.name == target.front), None)
    return target.container_of(front).port if front else 0
