"""The Kubernetes runtime: targets and servers as pods, in a namespace for each run.

Each process of the dispatcher is a Deployment, behind a Service where it listens, each server a
StatefulSet. So is a process that asks for ``{instance}``: only there the pod in another one's
place has its name again.
Everything is in the run's namespace, whose notes tell whose it is; ``recover`` finds it by
them. Only a cluster that is marked as fit for tests is touched, and nothing in it but that
namespace.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from lossmeter.errors import UnavailableError
from lossmeter.plan.target import Target
from lossmeter.world.ownership import Owner
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes._docker_images import bring
from lossmeter.world.runtimes._kube_images import NodeImages
from lossmeter.world.runtimes._kube_site import KubernetesSite
from lossmeter.world.runtimes._kube_space import Namespace, owned, remove
from lossmeter.world.runtimes._lifetimes import servers_first
from lossmeter.world.runtimes._processes import (
    kill_marked,
)
from lossmeter.world.runtimes._shared_folder import SharedFolder
from lossmeter.world.runtimes._state import remove_dead, state_folder
from lossmeter.world.runtimes._target import (
    no_container,
)
from lossmeter.world.service import Service
from lossmeter.world.site import (
    Drainable,
    Ending,
    Grouped,
    Killable,
    MemoryLimited,
    Orchestrated,
    Pausable,
    PodRemovable,
    ProcessTree,
    Proxied,
    Replaceable,
    RestartedByPolicy,
    Rolling,
    Scalable,
    ServersKillable,
    Startable,
    Stoppable,
)

_CAN = (
    *(Startable, Stoppable, Replaceable, Ending, Rolling, Orchestrated, Grouped),
    *(PodRemovable, Drainable, Scalable),
)
# What takes the processes of the pods.
_CAN_HERE = (*(Killable, ProcessTree, Pausable, MemoryLimited, ServersKillable, RestartedByPolicy),)


class KubernetesRuntime:
    """Brings up sites of pods."""

    name = access.NAME
    # Only by name: nobody's cluster is used because it is there.
    preference: int | None = None
    # Beside the container a pod is scheduled, given an address and put in service.
    restart_s = 2.5
    side_by_side = False

    def unavailable(self) -> str | None:
        """Return why no cluster can be used, or None."""
        return access.unavailable()

    def refuses(self, target: Target) -> str | None:
        """Return why this target cannot run here, or None."""
        if why := no_container(target):
            return why
        for process in target.process:
            asked = process.health.command or () if process.health else ()
            if any("{instance}" in word for word in asked):
                return (
                    f"target {target.name}, process {process.name}: health.command asks for "
                    f"{{instance}}, which runtime {self.name} knows in the process's own command "
                    "and environment alone; read it there from a variable"
                )
        if not target.takes_requests:
            return (
                f"target {target.name} takes no requests, and runtime {self.name} asks pods over "
                "HTTP whether they are up; use --runtime docker or local"
            )
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
            bring(images, services, targets)
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
            space = Namespace(owner)
            # Its pods are gone by then.
            shared = SharedFolder(order.folder)
            stack.callback(shared.close)
            stack.callback(space.remove)
            site = KubernetesSite(order, owner, state, space, shared)
            stack.callback(site.forget)
            # Removed while it is watched, so that the logs come to their ends.
            stack.callback(space.remove)
            stack.callback(site.close)
            site.start_all()
            with servers_first(site.check_lifetimes):
                yield site
            site.check_lifetimes()

    def recover(self) -> list[str]:
        """Remove what runs of dead harnesses left: namespaces, processes, folders."""
        removed = _remove_spaces() if self.unavailable() is None else []
        return removed + remove_dead(self.name)


def _remove_spaces() -> list[str]:
    removed = []
    for name, owner in owned().items():
        if not owner.alive():
            lines = remove(name)
            removed += [f"{line} of run {owner.run_id}" for line in lines]
    return removed


RUNTIME = KubernetesRuntime()
