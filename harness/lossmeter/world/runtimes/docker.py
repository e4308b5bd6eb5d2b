"""The Docker runtime: targets and servers each in a container of their own.

All containers of a run share a network that leads nowhere else. What is published is
published on 127.0.0.1 and keeps its port across restarts. Everything carries the label of the
run or of its servers, by which ``recover`` finds it after the harness itself was killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from lossmeter.plan.target import Target
from lossmeter.world.ownership import Owner
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes import _disks
from lossmeter.world.runtimes._docker_engine import connect, unavailable
from lossmeter.world.runtimes._docker_events import RUN_LABEL
from lossmeter.world.runtimes._docker_images import Images, bring, replaced
from lossmeter.world.runtimes._docker_servers import NAME, DockerServers, remove_labelled
from lossmeter.world.runtimes._docker_site import DockerSite
from lossmeter.world.runtimes._processes import kill_marked
from lossmeter.world.runtimes._server_set import lend
from lossmeter.world.runtimes._shared_folder import SharedFolder
from lossmeter.world.runtimes._state import remove_dead
from lossmeter.world.runtimes._target import no_container
from lossmeter.world.service import Service
from lossmeter.world.site import (
    Alarmable,
    Disconnectable,
    DiskFillable,
    Ending,
    Grouped,
    Killable,
    MemoryLimited,
    Pausable,
    PowerCut,
    ProcessTree,
    Proxied,
    Recorded,
    Replaceable,
    RestartedByPolicy,
    Rolling,
    RowsRemovable,
    ServersKillable,
    ServersLogged,
    Startable,
    Stoppable,
)

if TYPE_CHECKING:
    import docker

_CAN = (
    *(Startable, Killable, Stoppable, Pausable, MemoryLimited, Disconnectable, Replaceable),
    *(Ending, Recorded, Rolling, ServersKillable, ServersLogged, Grouped),
)
# By the host's process ids.
_CAN_AS_ROOT = (RestartedByPolicy, ProcessTree)


class DockerRuntime:
    """Brings up sites of containers."""

    name = NAME
    # Containers isolate better than processes.
    preference: int | None = 1
    restart_s = 1.5
    side_by_side = False

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
        if target.persisted.remove:
            more.add(RowsRemovable)
        if os.geteuid() == 0:
            more |= set(_CAN_AS_ROOT)
        if _disks.unavailable() is None:
            more |= {PowerCut, DiskFillable}
        if replaced("rabbitmq") is None:
            # Ours heeds what the harness asks of it, see images/rabbitmq/entrypoint.sh.
            more.add(Alarmable)
        return frozenset(_CAN) | more

    def prepare(
        self, services: Sequence[Service], targets: Sequence[Target], say: Callable[[str], None]
    ) -> None:
        """Build the images that are not there."""
        client = connect()
        try:
            bring(Images(client, say), services, targets)
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
            shared = SharedFolder(order.folder)
            stack.callback(shared.close)
            stack.callback(remove_labelled, client, owner)
            site = DockerSite(order, owner, servers, shared, client)
            stack.callback(site.close)
            site.check_servers()
            site.start_all()
            yield site

    def recover(self) -> list[str]:
        """Remove what runs of dead harnesses left: containers, networks, volumes, folders."""
        removed = []
        if unavailable() is None:
            client = connect()
            try:
                dead = [owner for owner in _owners(client) if not owner.alive()]
                removed += remove_labelled(client, *dead)
            finally:
                client.close()
        return removed + remove_dead(self.name)


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
