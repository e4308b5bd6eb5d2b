"""The servers of a run as containers, on a network that leads nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossmeter.errors import HarnessError, ServiceError
from lossmeter.model import Address
from lossmeter.world.ownership import Owner
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes._disks import LoopDisk, mounted_at
from lossmeter.world.runtimes._docker_engine import connect, engine_version, host
from lossmeter.world.runtimes._docker_events import RUN_LABEL
from lossmeter.world.runtimes._docker_images import Images, known_version, replaced
from lossmeter.world.runtimes._docker_parts import (
    ContainerBlueprint,
    ContainerPart,
    explained,
    labels,
)
from lossmeter.world.runtimes._server_set import SERVICE_READY_S, ServerSet, front_inside
from lossmeter.world.service import ContainerSpec, Service, Slot, further_of
from lossmeter.world.site import Exit, Incarnation

if TYPE_CHECKING:
    import docker
    from docker.models.networks import Network

NAME = "docker"


class DockerServers(ServerSet):
    """Servers in containers, published on the loopback.

    Attributes:
        network: theirs, that the target joins; None when a run needs none.
    """

    def __init__(self, order: Order) -> None:
        super().__init__(order, NAME)
        self.network: Network | None = None
        self._client: docker.DockerClient
        self._images: Mapping[str, str] = {}
        self._parts: dict[str, ContainerPart] = {}

    def _bring_up(self) -> None:
        self.versions["engine"] = engine_version(host())
        self._client = connect()
        self._closing.callback(self._client.close)
        self._closing.callback(remove_labelled, self._client, self.owner)
        if self._services or self._order.target.attach is None:
            with explained("network of the run"):
                self.network = self._client.networks.create(
                    f"lossmeter-{self.owner.run_id}",
                    driver="bridge",
                    labels=labels(self.owner, "network"),
                    # Nothing in a run has business outside.
                    options={"com.docker.network.bridge.enable_ip_masquerade": "false"},
                    check_duplicate=True,
                )
        images = Images(self._client, self._order.say)
        self._images = {service.name: images.server(service) for service in self._services}
        super()._bring_up()

    def _start_first(self, service: Service) -> None:
        if self.network is None:
            raise ServiceError("the run has no network")
        folder = self._state / service.name
        folder.mkdir(mode=0o700)
        if service.name in self._order.disks:
            disk = LoopDisk(self._state / "disks" / service.name, folder / "disk")
            # Whoever the server in the container is, it makes a folder of its own there.
            disk.point.chmod(0o1777)
            self.disks[service.name] = disk
        slot = self._new_slot(service, folder, self._advertised(service))
        spec = service.container(slot)
        blueprint = self._blueprint(service, slot, spec)
        part = ContainerPart(self._client, self.owner, self.network, blueprint)
        self._parts[service.name] = part
        part.start()
        self._wait(service)
        self._check_on_disk(service.name, spec)
        self.versions[service.name] = known_version(service, slot, self._images[service.name])
        self._order.say(f"{self.versions[service.name]} ready on {slot.listen}")

    def _advertised(self, service: Service) -> Address:
        """Return where other containers reach it: at the proxy, where it has one."""
        if service.name in self._fronts:
            if self._order.proxy is None:
                raise ServiceError("the target names proxied servers, and there is no proxy")
            return Address(self._order.proxy.name, self._front_inside(service.name))
        return Address(service.name, service.port)

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

    def _blueprint(self, service: Service, slot: Slot, spec: ContainerSpec) -> ContainerBlueprint:
        ours = replaced(service.name) is None
        ports = {spec.published: slot.listen}
        ports |= {inside: slot.further[name] for name, inside in further_of(service).items()}
        if self._order.proxy is not None and service.name == self._order.proxy.name:
            # So that the harness can measure through the proxy what the target meets there.
            ports |= {self._front_inside(name): front for name, front in self._fronts.items()}
        mounts = [(path, inside, False) for inside, path in spec.files.items()]
        disk = self.disks.get(service.name)
        if disk is not None and spec.data is not None:
            mounts.append((disk.point, spec.data, True))
        return ContainerBlueprint(
            part=service.name,
            image=self._images[service.name],
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

    def _front_inside(self, name: str) -> int:
        return front_inside(self._order.target, name)

    def _proxied(self, name: str) -> tuple[Address, Address]:
        port = next(each.port for each in self._services if each.name == name)
        everywhere = "0.0.0.0"  # noqa: S104 - inside the container
        return Address(everywhere, self._front_inside(name)), Address(name, port)

    def _wait(self, service: Service) -> None:
        slot = self._slots[service.name]
        part = self._parts[service.name]
        why = part.wait_ready(lambda: service.ready(slot), SERVICE_READY_S, self._logs)
        if why is not None:
            raise ServiceError(f"{service.name} {why}")

    def ended(self) -> dict[str, int]:
        """Return the exit codes of those that are down, by name, as the engine has it now."""
        return {n: code for n, part in self._parts.items() if (code := part.down()) is not None}

    def lifetime(self, name: str) -> Incarnation:
        """Return the present or last lifetime of one's main process."""
        self.slot_of(name)
        return self._parts[name].incarnation()

    def _kill(self, name: str) -> Exit:
        part = self._parts[name]
        part.signal("SIGKILL")
        return part.must_end(self._logs)

    def _start_again(self, service: Service) -> None:
        self._parts[service.name].start()
        self._wait(service)

    def last_lines(self, name: str) -> str:
        """Return the end of one's log on one line."""
        return self._parts[name].last_lines(2)

    def log(self, name: str) -> str:
        """Return what one has written in this run so far, as the engine kept it."""
        self.slot_of(name)
        return self._parts[name].log().decode(errors="replace")

    def save_logs(self) -> None:
        """Write what all have written in this run into its folder."""
        for part in self._parts.values():
            with suppress(HarnessError):
                part.save_log(self._logs)

    def renew(self) -> None:
        """Let their logs begin anew, and empty all."""
        for part in self._parts.values():
            part.begin_log()
        super().renew()


def remove_labelled(client: docker.DockerClient, *owners: Owner) -> list[str]:
    """Remove containers, networks and volumes of these owners; return a line for each."""
    removed = []
    # All containers first: a network of one owner may have a container of another in it.
    for remove in (_remove_containers, _remove_rest):
        for owner in owners:
            removed += [f"{line} of run {owner.run_id}" for line in remove(client, owner)]
    return removed


def _remove_containers(client: docker.DockerClient, owner: Owner) -> list[str]:
    found = client.containers.list(all=True, filters=_of(owner), ignore_removed=True)
    with ThreadPoolExecutor(max(1, len(found))) as pool:
        lines = pool.map(lambda each: _remove("container", each, force=True, v=True), found)
    return [line for line in lines if line]


def _remove_rest(client: docker.DockerClient, owner: Owner) -> list[str]:
    lines = [_remove("network", each) for each in client.networks.list(filters=_of(owner))]
    volumes = client.volumes.list(filters=_of(owner))
    lines += [_remove("volume", each, force=True) for each in volumes]
    return [line for line in lines if line]


def _of(owner: Owner) -> dict[str, str | list[str] | bool]:
    return {"label": f"{RUN_LABEL}={owner.mark}"}


def _remove(kind: str, thing: Any, **options: bool) -> str:
    """Remove one thing; return what was removed, or why it was not; empty when it was gone."""
    from docker.errors import APIError, NotFound  # noqa: PLC0415 - heavy

    try:
        thing.remove(**options)
    except NotFound:
        return ""
    except APIError as error:
        return f"not {kind} {thing.name}: {error.explanation}"
    return f"{kind} {thing.name}"
