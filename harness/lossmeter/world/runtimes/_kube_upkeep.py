"""What a cluster does to its pods in the course of its upkeep."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lossmeter.errors import FaultError, ServiceError
from lossmeter.model import plural
from lossmeter.world.runtimes import _kube_manifests as manifests
from lossmeter.world.runtimes._kube_lifetimes import STOP_WITHIN_S, ContainerLifetime
from lossmeter.world.runtimes._kube_pods import is_ready
from lossmeter.world.runtimes._kube_struck import StruckPods
from lossmeter.world.runtimes._kube_workload import Workload
from lossmeter.world.site import Incarnation, Rolled, Stopped

ROLLED_WITHIN_S = 60.0


class UpkeptPods(StruckPods):
    """The target's pods, which a cluster replaces, evicts and scales."""

    _drained = ""

    def roll_out(self, pre_stop_s: float, grace_s: float) -> list[Rolled]:
        """Restart the workload in front: the cluster itself replaces one pod after the other."""
        work = self._front
        given = work.blueprint
        if (given.pre_stop_s, work.grace_s) != (pre_stop_s, round(grace_s)):
            raise FaultError(
                f"the pods have a grace of {work.grace_s} s, and the rollout was to give them "
                f"{grace_s:g} s with {pre_stop_s:g} s of preStop; the order must say so before"
            )
        names = work.full
        before = [work.lifetimes[name] for name in names]
        self._expected |= set(names)
        work.change(manifests.restarted(str(time.time_ns())))
        stopped = self._all_stopped(work, before, pre_stop_s, grace_s)
        self._wait_up(work, names, before)
        after = [work.lifetimes[name] for name in names]
        threes = zip(before, stopped, after, strict=True)
        return [Rolled(old.incarnation, how, new.incarnation) for old, how, new in threes]

    def _all_stopped(
        self,
        work: Workload,
        lifetimes: Sequence[ContainerLifetime],
        pre_stop_s: float,
        grace_s: float,
    ) -> list[Stopped]:
        """Wait for the end of each, whichever comes first."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only here

        def stopped(lifetime: ContainerLifetime) -> Stopped:
            work.wait_deleted(lifetime, ROLLED_WITHIN_S + len(lifetimes) * grace_s)
            return self._stopped(lifetime, pre_stop_s, grace_s - pre_stop_s)

        with ThreadPoolExecutor(len(lifetimes)) as pool:
            return list(pool.map(stopped, lifetimes))

    def delete_pod(self, grace_s: float) -> Rolled:
        """Delete the first pod; the cluster puts another in its place at once."""
        lifetime = self._present()
        return self._taken(lambda: self._space.delete_pod(lifetime.container.pod, round(grace_s)))

    def evict_pod(self) -> Rolled:
        """Evict the first pod; it has its own grace."""
        lifetime = self._present()
        return self._taken(lambda: self._evict(lifetime))

    def _evict(self, lifetime: ContainerLifetime) -> None:
        try:
            self._space.evict_pod(lifetime.container.pod)
        except ServiceError as error:
            raise FaultError(str(error)) from None

    def _taken(self, take: Callable[[], None]) -> Rolled:
        lifetime = self._present()
        self._expect_end()
        take()
        stopped = self._pod_stopped(lifetime)
        self._wait_up(self._work, [self.part], [lifetime])
        return Rolled(lifetime.incarnation, stopped, self.incarnation())

    def _pod_stopped(self, lifetime: ContainerLifetime) -> Stopped:
        work = self._works[lifetime.container.part]
        work.wait_deleted(lifetime)
        pre_stop_s = work.blueprint.pre_stop_s
        return self._stopped(lifetime, pre_stop_s, work.grace_s - pre_stop_s)

    def drain_node(self) -> list[Stopped]:
        """Cordon the node of the first pod, and evict all of the target's that run there."""
        present = {
            name: work.lifetimes[name] for work in self._works.values() for name in work.full
        }
        nodes = {name: self._space.node_of(each.container.pod) for name, each in present.items()}
        self._drained = nodes[self.part]
        gone = {name: present[name] for name, node in nodes.items() if node == self._drained}
        self._expected |= set(gone)
        self._space.cordon(self._drained, closed=True)
        for lifetime in gone.values():
            self._evict(lifetime)
        return [self._pod_stopped(lifetime) for lifetime in gone.values()]

    def node_open(self) -> bool:
        """Return whether the node takes new pods."""
        return self._space.open(self._drained or self._space.node_of(self._present().container.pod))

    def open_node(self) -> Incarnation:
        """Let pods onto the node again."""
        if self._drained:
            self._space.cordon(self._drained, closed=False)
            for work in self._works.values():
                gone = [name for name in work.full if not work.lifetimes[name].runs]
                self._wait_up(work, gone, [work.lifetimes[name] for name in gone])
        return self.incarnation()

    def scale(self, instances: int) -> list[Stopped]:
        """Ask the workload in front for another number of pods, and wait until it is so."""
        work = self._front
        names = work.full
        if instances > len(names):
            more = [name for name in work.names if name in work.empty][: instances - len(names)]
            work.empty -= set(more)
            work.change(manifests.scaled(instances))
            self._wait_up(work, more, [work.lifetimes[name] for name in more])
            return []
        self._expected |= set(names)
        work.change(manifests.scaled(instances))
        too_many = len(names) - instances

        def chosen() -> list[str]:
            uids = {name: work.lifetimes[name].container.uid for name in names}
            return [name for name, uid in uids.items() if self._pods.deleted_ns(uid) is not None]

        if not self._pods.wait_for(lambda: len(chosen()) >= too_many, STOP_WITHIN_S):
            raise FaultError(f"the cluster did not choose {plural(too_many, 'pod')} to end")
        work.empty |= set(gone := chosen())
        stopped = [self._pod_stopped(work.lifetimes[name]) for name in gone]
        self._wait_up(work, work.full)
        return stopped

    def instances(self) -> int:
        """Return how many pods are ready."""
        return sum(is_ready(pod) for pod in self._pods.of(self._front.part))
