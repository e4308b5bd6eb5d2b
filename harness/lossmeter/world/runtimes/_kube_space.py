"""The namespace of one run: what is created in it, its bounds, and how it goes."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lossmeter.errors import ServiceError
from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes import _kube_manifests as manifests
from lossmeter.world.runtimes._kube_access import apps, core, explain
from lossmeter.world.runtimes._kube_manifests import (
    CONTAINER,
    MACHINE_NOTE,
    MANAGED_LABEL,
    MANAGER,
    OWNER_NOTE,
)

GONE_WITHIN_S = 90.0
END_GRACE_S = 1
POLL_S = 0.1
NOT_FOUND = 404


class Namespace:
    """A namespace, made at once.

    Args:
        owner: whose run it is.
    """

    def __init__(self, owner: Owner) -> None:
        self.name = manifests.namespace_name(owner.run_id)
        self.core = core()
        self.apps = apps()
        with explained(f"namespace {self.name}"):
            self.core.create_namespace(manifests.namespace(self.name, owner, this_machine()))

    def bound(self, pods: int, memory_mib: int, node_ports: int, volumes: int) -> None:
        """Set what the run may use at most."""
        with explained(f"quota of {self.name}"):
            body = manifests.quota(pods, memory_mib, node_ports, volumes)
            self.core.create_namespaced_resource_quota(self.name, body)

    def service(self, part: str, ports: Sequence[int]) -> str:
        """Create a service for other pods and return its address."""
        with explained(f"service {part}"):
            body = manifests.service(part, part, ports)
            made = self.core.create_namespaced_service(self.name, body)
        return str(made.spec.cluster_ip)

    def publish(self, part: str, ports: Sequence[int]) -> dict[int, int]:
        """Create a service for outside; return which port of the node leads to which."""
        name = f"{part}-outside"
        with explained(f"service {name}"):
            body = manifests.service(part, name, ports, outside=True)
            made = self.core.create_namespaced_service(self.name, body)
        return {int(port.port): int(port.node_port) for port in made.spec.ports}

    def lead(self, part: str, port: int, inside: int) -> None:
        """Let a published port lead to another port inside."""
        name = f"{part}-outside"
        with explained(f"service {name}"):
            ports = [{"port": port, "targetPort": inside}]
            self.core.patch_namespaced_service(name, self.name, {"spec": {"ports": ports}})

    def keep_secret(self, blueprint: manifests.Blueprint) -> None:
        """Create what the pods of a part must know."""
        with explained(f"secret of {blueprint.part}"):
            self.core.create_namespaced_secret(self.name, manifests.secret(blueprint))

    def run_named(self, blueprint: manifests.Blueprint) -> None:
        """Create the workload of what has a name of its own, as servers do."""
        with explained(f"stateful set {blueprint.part}"):
            body = manifests.stateful_set(blueprint)
            self.apps.create_namespaced_stateful_set(self.name, body)

    def run_target(self, blueprint: manifests.Blueprint) -> None:
        """Create the workload of a dispatcher."""
        if blueprint.named:
            self.run_named(blueprint)
            return
        with explained(f"deployment {blueprint.part}"):
            body = manifests.deployment(blueprint)
            self.apps.create_namespaced_deployment(self.name, body)

    def run_job(self, blueprint: manifests.Blueprint) -> None:
        """Create what runs to its end once."""
        from kubernetes.client import BatchV1Api  # noqa: PLC0415 - heavy

        with explained(f"job {blueprint.part}"):
            api: Any = BatchV1Api(self.core.api_client)
            api.create_namespaced_job(self.name, manifests.job(blueprint))

    def address_of(self, name: str) -> str:
        """Return the address of a service inside the cluster."""
        with explained(f"service {name}"):
            return str(self.core.read_namespaced_service(name, self.name).spec.cluster_ip)

    def change_target(self, blueprint: manifests.Blueprint, change: manifests.Manifest) -> None:
        """Change the workload of a dispatcher."""
        part = blueprint.part
        with explained(f"workload {part}"):
            if blueprint.named:
                self.apps.patch_namespaced_stateful_set(part, self.name, change)
            else:
                self.apps.patch_namespaced_deployment(part, self.name, change)

    def end_first(self, pod: str) -> None:
        """Ask the cluster to end this pod before others, where there are to be fewer."""
        notes = {manifests.ENDS_FIRST_NOTE: "-1"}
        with explained(f"pod {pod}"):
            self.core.patch_namespaced_pod(pod, self.name, {"metadata": {"annotations": notes}})

    def written_by(self, pod: str) -> str:
        """Return what the present container of a pod has written to its log."""
        with explained(f"log of pod {pod}"):
            return str(self.core.read_namespaced_pod_log(pod, self.name, container=CONTAINER))

    def delete_pod(self, pod: str, grace_s: int) -> None:
        """Ask for the end of a pod; one that has gone meanwhile is no error."""
        with suppress_not_found(), explained(f"pod {pod}"):
            self.core.delete_namespaced_pod(pod, self.name, grace_period_seconds=grace_s)

    def evict_pod(self, pod: str) -> None:
        """Ask for the eviction of a pod, which a budget of disruption may forbid."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.name},
        }
        with explained(f"eviction of pod {pod}"):
            self.core.create_namespaced_pod_eviction(pod, self.name, body)

    def node_of(self, pod: str) -> str:
        """Return the node that a pod runs on."""
        with explained(f"pod {pod}"):
            return str(self.core.read_namespaced_pod(pod, self.name).spec.node_name)

    def cordon(self, node: str, *, closed: bool) -> None:
        """Let no new pods onto a node, or let them again."""
        with explained(f"node {node}"):
            self.core.patch_node(node, {"spec": {"unschedulable": closed}})

    def open(self, node: str) -> bool:
        """Return whether a node takes new pods."""
        with explained(f"node {node}"):
            return not self.core.read_node(node).spec.unschedulable

    def remove(self) -> list[str]:
        """Remove everything and wait until it is gone."""
        return remove(self.name)


def remove(name: str) -> list[str]:
    """Remove a namespace with all that is in it; return a line for it."""
    try:
        api = core()
        with suppress_not_found():
            api.delete_namespace(name)
        deadline = time.monotonic() + GONE_WITHIN_S
        hurried: set[str] = set()
        while time.monotonic() < deadline:
            # Nobody waits for what they do in their own time: what counted has been saved.
            for pod in api.list_namespaced_pod(name).items:
                if pod.metadata.name not in hurried:
                    hurried.add(pod.metadata.name)
                    with suppress_not_found():
                        api.delete_namespaced_pod(
                            pod.metadata.name, name, grace_period_seconds=END_GRACE_S
                        )
            if not _exists(api, name):
                return [f"namespace {name}"]
            time.sleep(POLL_S)
    except Exception as error:  # noqa: BLE001 - told, since cleaning up must go on
        return [f"not namespace {name}: {explain(error, name)}"]
    return [f"not namespace {name}: it was still there after {GONE_WITHIN_S:g} s"]


def owned() -> dict[str, Owner]:
    """Return the namespaces of runs of this machine, and whose they are."""
    found = {}
    for space in core().list_namespace(label_selector=f"{MANAGED_LABEL}={MANAGER}").items:
        notes = space.metadata.annotations or {}
        owner = Owner.parse(notes.get(OWNER_NOTE, ""))
        # Whether something on another machine still runs cannot be known from here.
        if owner is not None and notes.get(MACHINE_NOTE) == this_machine():
            found[str(space.metadata.name)] = owner
    return found


def this_machine() -> str:
    """Return a name for this machine that is the same after a restart, and tells nothing."""
    with suppress(OSError):
        reported = Path("/etc/machine-id").read_text(encoding="ascii")
        return hashlib.sha256(f"lossmeter {reported} {socket.gethostname()}".encode()).hexdigest()[
            :16
        ]
    return hashlib.sha256(f"lossmeter {socket.gethostname()}".encode()).hexdigest()[:16]


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the client raises into the harness's own errors."""
    import urllib3  # noqa: PLC0415 - only with the client
    from kubernetes.client import ApiException  # noqa: PLC0415 - heavy

    try:
        yield
    except (ApiException, urllib3.exceptions.HTTPError) as error:
        raise explain(error, what) from error


@contextmanager
def suppress_not_found() -> Iterator[None]:
    """Pass over that something is not there."""
    from kubernetes.client import ApiException  # noqa: PLC0415 - heavy

    try:
        yield
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
    except ServiceError as error:
        cause = error.__cause__
        if not (isinstance(cause, ApiException) and cause.status == NOT_FOUND):
            raise


def _exists(api: Any, name: str) -> bool:
    from kubernetes.client import ApiException  # noqa: PLC0415 - heavy

    try:
        api.read_namespace(name)
    except ApiException as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True
