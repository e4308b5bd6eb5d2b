"""A target and its servers as pods of one namespace."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lossmeter.errors import FaultError, ServiceError, TargetError
from lossmeter.model import Address
from lossmeter.world.ports import free_port
from lossmeter.world.programs import text_of
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes._kube_images import NodeImages
from lossmeter.world.runtimes._kube_lifetimes import ContainerLifetime
from lossmeter.world.runtimes._kube_manifests import Blueprint
from lossmeter.world.runtimes._kube_target import LOAD
from lossmeter.world.runtimes._kube_upkeep import UpkeptPods
from lossmeter.world.runtimes._processes import (
    Child,
    helper_child,
)
from lossmeter.world.runtimes._target import UNASKED, called, check_attached
from lossmeter.world.site import (
    Exit,
    Incarnation,
)

LOAD_MIB = 512
SPARE_MIB = 256


class KubernetesSite(UpkeptPods):
    """The pods of one run."""

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
            if self._here:
                # The node does not tell who an image's user is.
                self._shared.give_to(None)
            if self._order.load_pods:
                self._load_image, self._pull = images.load(), images.pulled
            self._start_target(images)
        finally:
            images.close()

    def load_place(self) -> tuple[Address, Address]:
        """Return where load processes find their master, and the target's service inside."""
        return Address(access.this_address(), free_port()), self._inside[self._order.target.front]

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
        memory = sum(target.container_of(part.process).memory_mib for part in self._parts.values())
        load = self._order.load_pods
        # Each server may be given as much as the greediest of them.
        self._space.bound(
            pods=len(servers) + 2 * len(self.parts) + load + 2,
            memory_mib=len(servers) * 1024 + 2 * memory + load * LOAD_MIB + SPARE_MIB,
            node_ports=2 * len(servers) + len(target.proxied) + 4,
            volumes=len(servers),
        )

    # What the run sees.

    def helper(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process of the harness's own; it runs on this machine."""
        child = helper_child(self._owner, self.folder, name, argv, environment)
        self._helpers.append(child)
        return child

    def log(self, name: str) -> str:
        """Return what a server, or the target, has logged; nothing where that cannot be read."""
        return text_of(self.folder / "logs" / f"{name}.log")

    def check(self) -> None:
        """Raise when a server, or the target outside a fault, has ended."""
        self._check_servers()
        self._servers.lifetimes.check_now_and_then(self._expected)
        for work in self._works.values():
            for name, lifetime in list(work.lifetimes.items()):
                if name not in self._expected | work.empty and not lifetime.runs:
                    name_ = called(self._order.target, self._parts[name])
                    raise TargetError(self._ended_by_itself(name_, name, lifetime))

    def _check_servers(self) -> None:
        for name, container in self._servers.containers.items():
            if name not in self._expected and not container.runs:
                raise ServiceError(self._ended_by_itself(name, name, container))

    def _ended_by_itself(self, called_: str, part: str, lifetime: ContainerLifetime) -> str:
        code: int | str = "unknown"
        with suppress(FaultError):
            code = lifetime.reported(time.time_ns()).code
        return (
            f"{called_} ended with exit code {code} {UNASKED}; "
            f"its log says: {self._last_lines(part, 2)}"
        )

    # What faults may do to the servers.

    def server_lifetime(self, name: str) -> Incarnation:
        """Return the present or last lifetime of a server's main process."""
        return self._server(name).incarnation

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end; the kubelet starts it again."""
        lifetime = self._server(name)
        self._expected.add(name)
        lifetime.signal(signal.SIGKILL)
        return self._must_end(lifetime)

    def start_server(self, name: str) -> None:
        """See a server serve again, on the same data."""
        self._servers.wait_ready(name, self._server(name))
        self._expected.discard(name)

    def _server(self, name: str) -> ContainerLifetime:
        containers = self._servers.containers
        if name not in containers:
            raise FaultError(f"the run has no server {name!r}; it has " + ", ".join(containers))
        return containers[name]

    # The end.

    def check_lifetimes(self) -> None:
        """Raise when a server ended or began anew that no fault struck."""
        self._check_servers()
        self._servers.lifetimes.check(self._expected)

    def close(self) -> None:
        """End what is the harness's own; the namespace goes after it."""
        for helper in self._helpers:
            helper.kill()

    def forget(self) -> None:
        """Stop watching, once the namespace is gone."""
        self._logs.close()
        self._pods.close()
