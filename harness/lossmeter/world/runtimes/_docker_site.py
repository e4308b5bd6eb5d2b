"""A target and its servers as containers."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lossmeter.errors import HarnessError, ServiceError, TargetError
from lossmeter.model import Address
from lossmeter.plan.processes import Container
from lossmeter.world.interpolation import interpolate, variables
from lossmeter.world.ownership import Owner
from lossmeter.world.ports import LOOPBACK
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes._contained import Contained
from lossmeter.world.runtimes._docker_events import EngineEvents
from lossmeter.world.runtimes._docker_images import Images
from lossmeter.world.runtimes._docker_parts import ContainerBlueprint, ContainerPart, explained
from lossmeter.world.runtimes._docker_servers import DockerServers
from lossmeter.world.runtimes._health import question
from lossmeter.world.runtimes._instances import Part, neighbours
from lossmeter.world.runtimes._own_image import stands_for
from lossmeter.world.runtimes._served_site import ServedSite
from lossmeter.world.runtimes._shared_folder import SharedFolder
from lossmeter.world.runtimes._target import check_port_free, not_ready
from lossmeter.world.site import Event, Exit, Incarnation, Stopped
from lossmeter.world.waiting import wait_for

if TYPE_CHECKING:
    import docker

SHARED = "/run/lossmeter"
_FREEZES = 3


class DockerSite(Contained, ServedSite):
    """A target and its servers as containers."""

    def __init__(
        self,
        order: Order,
        owner: Owner,
        servers: DockerServers,
        shared: SharedFolder,
        client: docker.DockerClient,
    ) -> None:
        super().__init__(order, owner, servers, shared)
        self._servers = servers
        self._client = client
        self._targets: dict[int, ContainerPart] = {}
        self._ready_s: dict[int, float] = {}
        self._events: EngineEvents | None = None
        if servers.network is not None:
            self._events = EngineEvents({owner, servers.owner})

    # What the run sees.

    def _ended_servers(self) -> Mapping[str, int]:
        heard = self._heard_ends()
        if heard is None:
            return self._set.ended()
        return {name: code for name, code in heard.items() if name in self._set.names}

    def _ended_targets(self) -> Mapping[int, int]:
        heard = self._heard_ends()
        if heard is not None:
            names = {part.name: index for index, part in self._targets.items()}
            return {names[name]: code for name, code in heard.items() if name in names}
        return {i: code for i, part in self._targets.items() if (code := part.down()) is not None}

    def _heard_ends(self) -> Mapping[str, int] | None:
        """Return what the engine told of ends; None where it cannot be relied on."""
        if self._events is None or self._events.broken:
            return None
        return self._events.ended()

    def _last_lines(self, index: int) -> str:
        return self._targets[index].last_lines(2)

    # What faults may do to the target.

    def _lifetime(self, index: int) -> Incarnation:
        lifetime = self._target(index).incarnation()
        return replace(lifetime, ready_s=self._ready_s.get(index, 0.0))

    def _start(self, index: int) -> Incarnation:
        if index not in self._targets:
            if self._servers.network is None:
                raise ServiceError("the run has no network")
            blueprint = self._target_blueprint(self._parts[index])
            made = ContainerPart(self._client, self._owner, self._servers.network, blueprint)
            self.shared.give_to(made.user())
            self._targets[index] = made
        written = len(self._targets[index].log())
        self._targets[index].start()
        return self._target_ready(index, written)

    def _target_ready(self, index: int, written: int = 0) -> Incarnation:
        """Wait until a part is healthy; ``written``: bytes of its log of earlier lifetimes."""
        container, part, target = self._targets[index], self._parts[index], self._order.target
        values = self._variables(part)

        def succeeds(command: Sequence[str]) -> bool:
            return container.ends_well([interpolate(word, values, target.name) for word in command])

        asked, healthy = question(target, part, lambda: container.log()[written:], succeeds)
        why = container.wait_ready(healthy, part.process.ready_s, self._logs)
        if why is not None:
            raise not_ready(target, part, asked, why)
        self._expected.discard(index)
        self._ready_s[index] = (time.time_ns() - container.incarnation().started_ns) / 1e9
        return self._lifetime(index)

    def _target_blueprint(self, part: Part) -> ContainerBlueprint:
        target, process = self._order.target, part.process
        check_port_free(target, part)
        container = target.container_of(process)
        image = Images(self._client, self._order.say).process(target, process)
        values = self._variables(part)
        wanted = process.environment | dict(self._order.settings)
        return ContainerBlueprint(
            part=part.name,
            image=image,
            ports={container.port: Address(LOOPBACK, part.port)} if part.port else {},
            environment={n: interpolate(t, values, target.name) for n, t in wanted.items()},
            command=[interpolate(word, values, target.name) for word in process.command],
            mounts=[(self.shared.path, SHARED, True)],
            volume=None,
            writable=("/tmp",),  # noqa: S108 - inside the container
            memory_mib=container.memory_mib,
            ours=True,
            read_only=container.read_only,
            user=_user(container),
            stop_signal=process.stop_signal,
        )

    def _variables(self, part: Part) -> dict[str, str]:
        target = self._order.target
        container = target.container_of(part.process)
        own = {
            **stands_for(target, container),
            "host": "0.0.0.0",  # noqa: S104 - inside the container
            "port": str(container.port),
            "instance": str(part.number),
            "run_folder": SHARED,
        }
        others = neighbours(
            self._parts, lambda o: Address(o.name, target.container_of(o.process).port)
        )
        return variables(self.endpoints, own | others)

    def _target(self, index: int | None = None) -> ContainerPart:
        number = self._at if index is None else index
        if number not in self._targets:
            raise TargetError(f"target {self._order.target.name} was not started by the harness")
        return self._targets[number]

    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""
        self._expected.add(self._at)
        part = self._target()
        part.signal("SIGKILL")
        return part.must_end(self._logs)

    def _main_pid(self) -> int:
        return self._target().incarnation().pid

    def _expect_end(self) -> None:
        self._expected.add(self._at)

    def _stop(self, index: int, grace_s: float) -> Stopped:
        part, asks = self._target(index), self._parts[index].process.signal
        self._expected.add(index)
        asked_ns = time.time_ns()
        if grace_s == int(grace_s):
            with explained(f"container {part.name}"):
                part.container.stop(timeout=int(grace_s))
        else:
            part.signal(asks.name)
            if part.wait(grace_s) is None:
                part.signal("SIGKILL")
        end = part.must_end(self._logs)
        return Stopped(asked_ns, self._killed_since(part, asked_ns), end, asks)

    def _killed_since(self, part: ContainerPart, since_ns: int) -> int | None:
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

    def _renew(self, index: int) -> None:
        self._target(index).renew()
        self._start(index)

    def pause(self) -> str:
        """Freeze the target's processes."""
        part = self._target()
        # On a busy machine the kernel now and then cannot freeze a control group in time.
        for _ in range(_FREEZES - 1):
            with suppress(ServiceError), explained(f"container {part.name}"):
                part.container.pause()
                return str(part.state()["Status"])
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
        """Wait for the lifetime after ``before``."""
        part = self._target()
        written = len(part.log())

        def again() -> bool:
            state = part.state()
            return bool(state["Running"]) and int(state["Pid"]) not in {0, before.pid}

        return self._target_ready(self._at, written) if wait_for(again, timeout_s) else None

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Set the limit of memory and swap together; None sets what it started with."""
        part = self._target()
        limit = limit_bytes or part.blueprint.memory_mib * 2**20
        with explained(f"memory limit of container {part.name}"):
            part.container.update(mem_limit=limit, memswap_limit=limit)
        if limit_bytes is not None:
            # The kernel may end it at any time from now on.
            self._expected.add(self._at)

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself."""
        end = self._target().wait(timeout_s)
        if end is not None:
            self._expected.add(self._at)
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
                network.connect(self._target().container, aliases=[self.part])

    def connected(self) -> bool:
        """Return whether the engine says that the target is in the network."""
        network = self._servers.network
        return network is not None and network.name in self._target().networks()

    def cut_power(self, server: str) -> None:
        """Shut the disk of a server down without flushing it; its container has ended."""
        self._servers.strike(server)
        self.disk_of(server).cut()

    # The end.

    def close(self) -> None:
        """Save all logs; what runs is removed by its label."""
        super().close()
        for part in self._targets.values():
            with suppress(HarnessError):
                part.save_log(self._logs)
        if self._events is not None:
            self._events.close()


def _user(container: Container) -> str | None:
    """Return who the target runs as: who started the run, so that its files can be removed."""
    if container.image is not None or os.geteuid() == 0:
        return None
    return f"{os.geteuid()}:{os.getegid()}"
