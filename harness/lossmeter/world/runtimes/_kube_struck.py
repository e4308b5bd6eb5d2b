"""What faults do to the pods of a target, as to any process: end, stop, freeze and bound it."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

from lossmeter.errors import FaultError, TargetError
from lossmeter.plan.processes import LEAST_GRACE_S
from lossmeter.world.runtimes._cgroups import limit, memory_folder
from lossmeter.world.runtimes._contained import Contained
from lossmeter.world.runtimes._kube_lifetimes import STOP_WITHIN_S, ContainerLifetime, freeze
from lossmeter.world.runtimes._kube_target import TargetPods
from lossmeter.world.site import Exit, Incarnation, Stopped

# By how much a kubelet may be late.
KUBELET_LATE_S = 1.0


class StruckPods(Contained, TargetPods):
    """The target's pods, each of which can be ended and started again."""

    def _present(self) -> ContainerLifetime:
        """Return the present or last lifetime of the part that this site is about."""
        return self._work.lifetimes[self.part]

    def _main_pid(self) -> int:
        lifetime = self._present()
        return lifetime.pid if lifetime.runs else 0

    def _expect_end(self) -> None:
        self._expected.add(self.part)

    def incarnation(self) -> Incarnation:
        """Return the present or last lifetime of the target."""
        return self._present().incarnation

    def start(self) -> Incarnation:
        """See the target serve again: the kubelet starts it, or it is asked for anew."""
        before = self._present()
        self._work.bring_back(self.part)
        self._wait_up(self._work, [self.part], [before])
        return self.incarnation()

    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""
        lifetime = self._present()
        self._expect_end()
        lifetime.signal(signal.SIGKILL)
        return self._must_end(lifetime)

    def _must_end(self, lifetime: ContainerLifetime, within_s: float = STOP_WITHIN_S) -> Exit:
        at_ns = lifetime.wait(within_s)
        if at_ns is None:
            pod = lifetime.container.pod
            raise FaultError(f"pod {pod} still ran {within_s:g} s after SIGKILL")
        self._logs.wait(lifetime.container.id)
        return lifetime.reported(at_ns)

    def restart_policy(self, on: bool) -> None:
        """Do nothing: a workload's pods are always started again."""

    def wait_restarted(self, before: Incarnation, timeout_s: float) -> Incarnation | None:
        """Wait for the lifetime after ``before``."""
        deadline, known = time.monotonic() + timeout_s, self._present()
        old = [known] if known.pid == before.pid else []
        while time.monotonic() < deadline:
            with suppress(TargetError):
                self._wait_up(self._work, [self.part], old)
                return self.incarnation()
        return None

    def stop(self, grace_s: float) -> Stopped:
        """Ask for one pod less; this one gets its stop signal, the grace, then SIGKILL.

        A grace of 0 is asked for as 1 s: less would take the pod from the API before it has
        ended, and a kubelet gives LEAST_GRACE_S anyway.
        """
        self._expect_end()
        lifetime = self._work.take_down(self.part)
        if round(grace_s) != self._work.grace_s:
            self._space.delete_pod(lifetime.container.pod, max(1, round(grace_s)))
            self._hurry(lifetime, grace_s)
        return self._stopped(lifetime, 0.0, grace_s)

    @staticmethod
    def _hurry(lifetime: ContainerLifetime, grace_s: float) -> None:
        """Send what the kubelet owes a pod whose grace was shortened, where it does not.

        One that already waits for the pod's own grace does not always look again (1.34).
        """
        if lifetime.wait(max(grace_s, LEAST_GRACE_S) + KUBELET_LATE_S) is None:
            # It may have come meanwhile.
            with suppress(FaultError):
                lifetime.signal(signal.SIGKILL, whole=True)

    def _stopped(self, lifetime: ContainerLifetime, pre_stop_s: float, grace_s: float) -> Stopped:
        """Wait for the end of a pod that is deleted, and tell how it came."""
        end = self._must_end(lifetime, grace_s + pre_stop_s + STOP_WITHIN_S)
        uid = lifetime.container.uid
        wished_ns = self._pods.deleted_ns(uid) or end.at_ns
        # The kubelet begins some time after the wish, and says so.
        begun_ns = max(wished_ns, self._pods.killing_ns(uid) or 0)
        asked_ns = min(begun_ns + round(pre_stop_s * 1e9), end.at_ns)
        # It comes when the grace is over, and from nobody else.
        killed_ns = end.at_ns if end.signal == signal.SIGKILL else None
        asks = self._works[lifetime.container.part].process.signal
        return Stopped(asked_ns, killed_ns, end, asks)

    def replace(self, grace_s: float) -> Stopped:
        """Stop the target and have another pod in its place."""
        stopped = self.stop(grace_s)
        self.start()
        return stopped

    def pause(self) -> str:
        """Freeze the target's processes."""
        return freeze(self._present())

    def resume(self) -> None:
        """Let them go on."""
        lifetime = self._present()
        if lifetime.runs:
            lifetime.signal(signal.SIGCONT, whole=True)

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Set the limit of memory and swap together; None sets what the manifest asks for."""
        lifetime = self._present()
        if limit_bytes is None and not lifetime.runs:
            # The lifetime after it has the manifest's limit from its start.
            return
        asked = self._work.blueprint.memory_mib * 2**20
        limit(memory_folder(lifetime.pid), limit_bytes or asked)
        if limit_bytes is not None:
            # The kernel may end it at any time from now on.
            self._expect_end()

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself."""
        lifetime = self._present()
        at_ns = lifetime.wait(timeout_s)
        if at_ns is None:
            return None
        self._expect_end()
        return lifetime.reported(at_ns)
