"""A process of the target in a cluster: the pods of one workload, each in the place of a part."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lossmeter.errors import FaultError, TargetError
from lossmeter.plan.processes import Process
from lossmeter.world.runtime import serve
from lossmeter.world.runtimes import _kube_manifests as manifests
from lossmeter.world.runtimes._kube_lifetimes import STOP_WITHIN_S, ContainerLifetime
from lossmeter.world.runtimes._kube_manifests import Blueprint
from lossmeter.world.runtimes._kube_pods import PodContainer, Pods, address_of, is_ready
from lossmeter.world.runtimes._kube_space import Namespace
from lossmeter.world.site import Probe


@dataclass(slots=True)
class Workload:
    """The pods of one process: who is in the place of which part, and since when.

    A pod that takes the place of another is the same part; its log goes on in the same file.

    Attributes:
        process: of the target.
        names: of its parts, which are as many as its pods.
        pods: tell of them.
        space: the run's namespace.
        lifetimes: the present or last one of each part that has been up.
        empty: parts that are to have no pod now.
    """

    process: Process
    names: Sequence[str]
    pods: Pods
    space: Namespace
    lifetimes: dict[str, ContainerLifetime] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    _blueprint: Blueprint | None = None
    _places: dict[str, str] = field(default_factory=dict)
    _pods_of: dict[str, set[str]] = field(default_factory=dict)
    _placing: threading.Lock = field(default_factory=threading.Lock)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def part(self) -> str:
        """Return the name that the cluster knows it by."""
        return self.process.name

    @property
    def full(self) -> list[str]:
        """Return the parts that are to have a pod now."""
        return [name for name in self.names if name not in self.empty]

    @property
    def blueprint(self) -> Blueprint:
        """Return what its pods are made of.

        Raises:
            TargetError: it was not started.
        """
        if self._blueprint is None:
            raise TargetError(f"process {self.part} was not started by the harness")
        return self._blueprint

    def start(self, blueprint: Blueprint) -> None:
        """Create it."""
        self._blueprint = blueprint
        self.space.keep_secret(blueprint)
        self.space.run_target(blueprint)

    @property
    def grace_s(self) -> int:
        """Return what its pods are given to end."""
        return round(self.blueprint.grace_s)

    # Which pod is which part.

    def place_of(self, container: PodContainer) -> str:
        """Return the part that a pod is: one whose pod is gone, or about to be."""
        with self._placing:
            if container.uid not in self._places:
                place = self._free_place(container)
                self._places[container.uid] = place
                self._pods_of.setdefault(place, set()).add(container.pod)
            return self._places[container.uid]

    def _free_place(self, container: PodContainer) -> str:
        if self._blueprint is not None and self._blueprint.named:
            return self.names[int(container.pod.rpartition("-")[2])]
        staying = {
            str(pod["metadata"]["uid"])
            for pod in self.pods.of(self.part)
            if not pod["metadata"].get("deletionTimestamp")
        }
        taken = {place for uid, place in self._places.items() if uid in staying} | self.empty
        return next((name for name in self.names if name not in taken), self.names[0])

    def pods_of(self, name: str) -> Collection[str]:
        """Return the names of all pods that have been a part."""
        with self._placing:
            return set(self._pods_of.get(name, ()))

    def serving(self, old: Collection[str]) -> dict[str, PodContainer]:
        """Return the containers of pods that are ready, by part, but for those of some ids."""
        found = self.pods.running(self.part, ready=True)
        return {self.place_of(each): each for each in found if each.id not in old}

    def concerns(self, uid: str, names: Collection[str]) -> bool:
        """Return whether a pod is one of some parts, or not known to be any."""
        return self._places.get(uid) in {None, *names}

    # How many there are.

    def change(self, change: manifests.Manifest) -> None:
        """Change the workload."""
        self.space.change_target(self.blueprint, change)

    def take_down(self, name: str) -> ContainerLifetime:
        """Have the pod of a part end, and no other in its place.

        Raises:
            FaultError: the cluster ends another one of them.
        """
        lifetime = self.lifetimes[name]
        container = lifetime.container
        if len(self.names) > 1 and self.blueprint.named:
            # Those with names of their own end from the last one on.
            last = self.pods.wait_for(lambda: self.full[-1:] == [name], STOP_WITHIN_S)
            if not last:
                raise FaultError(
                    f"pods of process {self.part} have names of their own, and the cluster ends "
                    f"the last of them first, which is not {name}; name all of them, or the last"
                )
        with self._changing:
            if len(self.full) > 1 and not self.blueprint.named:
                self.space.end_first(container.pod)
                self.pods.wait_for(lambda: self._marked(container.uid), STOP_WITHIN_S)
            self.empty.add(name)
            self.change(manifests.scaled(len(self.full)))
            try:
                self.wait_deleted(lifetime)
            except FaultError:
                self.empty.discard(name)
                self.change(manifests.scaled(len(self.full)))
                raise
        return lifetime

    def _marked(self, uid: str) -> bool:
        return any(
            manifests.ENDS_FIRST_NOTE in (pod["metadata"].get("annotations") or {})
            for pod in self.pods.of(self.part)
            if pod["metadata"]["uid"] == uid
        )

    def bring_back(self, name: str) -> None:
        """Have a pod for a part again, if it is to have none."""
        with self._changing:
            if name in self.empty:
                self.empty.discard(name)
                self.change(manifests.scaled(len(self.full)))

    def wait_deleted(self, lifetime: ContainerLifetime, within_s: float = STOP_WITHIN_S) -> None:
        """Wait until the cluster wishes the end of a pod.

        Raises:
            FaultError: it does not.
        """
        pods, container = self.pods, lifetime.container
        if not pods.wait_for(lambda: pods.deleted_ns(container.uid) is not None, within_s):
            raise FaultError(f"pod {container.pod} was not deleted within {within_s:g} s")


class Balancer:
    """Writes down which pods are ready: what a load balancer makes of the endpoints.

    Args:
        folder: the run's.
        pods: tell of them.
        part: whose pods take requests.
        url_of: returns where a pod is found.
        probe: is to look at each of them.
    """

    def __init__(
        self,
        folder: Path,
        pods: Pods,
        part: str,
        url_of: Callable[[Mapping[str, Any]], str],
        probe: Probe,
    ) -> None:
        self._folder = folder
        self._pods = pods
        self._part = part
        self._url_of = url_of
        self._probe = probe
        self._written: list[str] = []
        self._writing = threading.Lock()

    @property
    def base_urls(self) -> list[str]:
        """Return where each pod is found that has an address."""
        return [self._url_of(pod) for pod in self._pods.of(self._part) if address_of(pod)]

    def publish(self) -> None:
        """Tell load and probe which there are now."""
        with self._writing:
            ready = [self._url_of(pod) for pod in self._pods.of(self._part) if is_ready(pod)]
            addresses = sorted(urlsplit(url).netloc for url in ready)
            if addresses != self._written:
                self._written = addresses
                serve(self._folder, addresses)
        urls = self.base_urls
        if urls:
            self._probe.watch(urls)
