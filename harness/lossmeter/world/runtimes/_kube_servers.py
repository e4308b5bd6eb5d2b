"""The servers of a run in a cluster: a pod each, a service for pods and one for outside."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes._docker_images import known_version, replaced
from lossmeter.world.runtimes._kube_images import NodeImages
from lossmeter.world.runtimes._kube_lifetimes import ContainerLifetime
from lossmeter.world.runtimes._kube_manifests import Blueprint
from lossmeter.world.runtimes._kube_pods import Pods
from lossmeter.world.runtimes._kube_space import Namespace
from lossmeter.world.runtimes._lifetimes import Lifetimes
from lossmeter.world.runtimes._server_set import endpoint, front_inside
from lossmeter.world.service import ContainerSpec, Service, Slot, further_of
from lossmeter.world.site import Endpoint, ProxyControl

SERVICE_READY_S = 90.0
# Lines of a log that tell of a crash.
LOOKED_AT = 50
STORAGE_VARIABLE = "LOSSMETER_KUBE_STORAGE_CLASS"


class KubeServers:
    """The servers that one run needs.

    Args:
        order: the run.
        state: folder for their configuration.
        node: address of a node, as the harness reaches it.
        space: the namespace.
        pods: what is heard of the pods.
        last_lines: the end of a part's log, for messages.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what servers are made of
        self,
        order: Order,
        state: Path,
        node: str,
        space: Namespace,
        pods: Pods,
        last_lines: Callable[..., str],
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.versions: dict[str, str] = {}
        self.containers: dict[str, ContainerLifetime] = {}
        self._order = order
        self._state = state
        self._node = node
        self._space = space
        self._pods = pods
        self._last_lines = last_lines
        self._slots: dict[str, Slot] = {}
        self.lifetimes = Lifetimes(lambda name: self.containers[name].incarnation, last_lines)
        self._inside: dict[str, str] = {}
        self._further: dict[str, dict[str, Address]] = {}
        self._fronts: dict[str, Address] = {}

    @property
    def all(self) -> list[Service]:
        """Return the servers, the proxy among them."""
        proxy = self._order.proxy
        return [*self._order.services, *([proxy] if proxy is not None else [])]

    def start(self, images: NodeImages) -> ProxyControl | None:
        """Start all of them side by side and put the proxies in front; return their control."""
        named = {service.name: images.server(service) for service in self.all}
        listens = {service.name: self._address(service) for service in self.all}
        with ThreadPoolExecutor(max(1, len(named))) as pool:
            started = [
                pool.submit(self._start, service, listens[service.name], named, images.pulled)
                for service in self.all
            ]
            for future in started:
                future.result()
        for service in self._order.services:
            slot, front = self._slots[service.name], self._fronts.get(service.name)
            self.endpoints[service.name] = endpoint(service, slot, front)
        return self._put_proxies()

    def _address(self, service: Service) -> Address:
        """Create the services in front of a server; return where the harness reaches it."""
        further = further_of(service)
        ports = [service.port, *further.values()]
        proxy = self._order.proxy
        if proxy is not None and service.name == proxy.name:
            ports += [self._front_inside(name) for name in self._order.target.proxied]
        self._inside[service.name] = self._space.service(service.name, ports)
        outside = self._space.publish(service.name, ports)
        if proxy is not None and service.name == proxy.name:
            for name in self._order.target.proxied:
                front = outside[self._front_inside(name)]
                self._fronts[name] = Address(self._node, front)
        reached = {name: Address(self._node, outside[port]) for name, port in further.items()}
        self._further[service.name] = reached
        return Address(self._node, outside[service.port])

    def _start(
        self, service: Service, listen: Address, images: Mapping[str, str], pulled: bool
    ) -> None:
        folder = self._state / service.name
        folder.mkdir(mode=0o700)
        settings = self._order.servers.get(service.name, {})
        password, further = secrets.token_urlsafe(18), self._further[service.name]
        slot = Slot(folder, listen, self._advertised(service), password, settings, further)
        spec = service.container(slot)
        self._slots[service.name] = slot
        image = images[service.name]
        blueprint = self._blueprint(service, spec, image, pulled)
        if spec.published != service.port:
            self._space.lead(service.name, service.port, spec.published)
        self._space.keep_secret(blueprint)
        self._space.run_named(blueprint)
        self.wait_ready(service.name)
        self.versions[service.name] = known_version(service, slot, image)
        self._order.say(f"{self.versions[service.name]} ready on {slot.listen}")

    def _advertised(self, service: Service) -> Address:
        """Return where other parts reach it: at the proxy, where it has one."""
        proxy = self._order.proxy
        if service.name in self._order.target.proxied and proxy is not None:
            return Address(self._inside[proxy.name], self._front_inside(service.name))
        return Address(self._inside[service.name], service.port)

    def _blueprint(
        self, service: Service, spec: ContainerSpec, image: str, pulled: bool
    ) -> Blueprint:
        ours = replaced(service.name) is None
        return Blueprint(
            part=service.name,
            image=image,
            ports=sorted({service.port, spec.published, *further_of(service).values()}),
            environment=spec.environment,
            arguments=spec.command,
            files=spec.files,
            data=spec.data,
            storage=os.environ.get(STORAGE_VARIABLE) or None,
            writable=spec.writable,
            memory_mib=spec.memory_mib,
            ours=ours,
            read_only=ours,
            pull=pulled,
        )

    def wait_ready(self, name: str, not_this: ContainerLifetime | None = None) -> None:
        """Wait until a server serves, as another lifetime than one that ended.

        Raises:
            ServiceError: it ended, or was not ready in time.
        """
        service = next(each for each in self.all if each.name == name)
        slot = self._slots[name]

        def ready() -> bool:
            running = self._pods.running(name)
            newer = not_this is None or any(c.id != not_this.container.id for c in running)
            return bool(running) and newer and service.ready(slot)

        if (why := self._pods.why_not_up(name, ready, SERVICE_READY_S)) is not None:
            raise ServiceError(f"{name} {why}: {self._last_lines(name)}")
        container = self._pods.running(name)[-1]
        self.containers[name] = ContainerLifetime.of(container, self._pods, here=access.here())
        self.lifetimes.note(service, slot)

    def _front_inside(self, name: str) -> int:
        return front_inside(self._order.target, name)

    def _put_proxies(self) -> ProxyControl | None:
        proxy = self._order.proxy
        if proxy is None:
            return None
        control = proxy.control(self._slots[proxy.name])
        for service in self._order.services:
            if service.name in self._order.target.proxied:
                inside = Address("0.0.0.0", self._front_inside(service.name))  # noqa: S104
                upstream = Address(self._inside[service.name], service.port)
                control.create(service.name, inside, upstream)
        return control
