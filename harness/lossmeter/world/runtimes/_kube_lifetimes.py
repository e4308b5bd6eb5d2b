"""Lifetimes of pods' containers: as processes where the node is this machine, else as reported."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lossmeter.errors import FaultError, ServiceError
from lossmeter.world.ownership import start_ticks
from lossmeter.world.process_table import wait_stopped
from lossmeter.world.runtimes._cgroups import members, memory_folder
from lossmeter.world.runtimes._kube_access import TASKS
from lossmeter.world.runtimes._kube_pods import PodContainer, Pods
from lossmeter.world.site import Exit, Incarnation
from lossmeter.world.waiting import wait_for

REPORTED_WITHIN_S = 15.0
STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class ContainerLifetime:
    """One lifetime of a container, and its main process where that runs on this machine.

    Attributes:
        container: which.
        pods: tell of it.
        pid, start_ticks: of the process; 0 where it runs on another machine.
        started_ns: wall clock of its start.
        ready_s: seconds from there until it was ready; 0 while not known.
    """

    container: PodContainer
    pods: Pods = field(repr=False, compare=False)
    pid: int
    start_ticks: int
    started_ns: int
    ready_s: float = 0.0

    @classmethod
    def of(cls, container: PodContainer, pods: Pods, *, here: bool) -> ContainerLifetime:
        """Find the process of a container that runs.

        Raises:
            ServiceError: it should be here, and cannot be seen.
        """
        if not here:
            return cls(container, pods, 0, 0, pods.started_ns(container.id))
        try:
            pid = int((TASKS / container.id / "init.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            raise ServiceError(
                f"the process of pod {container.pod} cannot be seen from this machine"
            ) from None
        ticks = start_ticks(pid)
        return cls(container, pods, pid, ticks, _started_ns(ticks))

    @property
    def runs(self) -> bool:
        """Return whether that very process still runs, or is not known to have ended."""
        if not self.pid:
            return self.pods.ended(self.container.id) is None
        return self.start_ticks != 0 and start_ticks(self.pid) == self.start_ticks

    @property
    def incarnation(self) -> Incarnation:
        """Return it as faults see it."""
        name = "" if self.pid else self.container.id[:12]
        return Incarnation(self.pid, self.start_ticks, self.started_ns, self.ready_s, name)

    def signal(self, number: int, *, whole: bool = False) -> int:
        """Send a signal to its main process, or to all; return the wall clock, nanoseconds.

        Raises:
            FaultError: it does not run, or may not be signalled.
        """
        if not self.pid:
            raise FaultError(f"pod {self.container.pod} runs on another machine")
        pids = _members(self.pid) if whole else [self.pid]
        now = time.time_ns()
        if not self.runs:
            raise FaultError(f"pod {self.container.pod} has ended already")
        try:
            for pid in pids:
                os.kill(pid, number)
        except OSError as error:
            raise FaultError(
                f"process {self.pid} cannot be signalled from here: {error.strerror}"
            ) from None
        return now

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end of the process; return the wall clock of it, or None."""
        if not self.pid:
            self.pods.wait_for(lambda: not self.runs, timeout_s)
            over = self.pods.ended(self.container.id)
            return over.heard_ns if over else None
        return time.time_ns() if wait_for(lambda: not self.runs, timeout_s, 0.002) else None

    def reported(self, at_ns: int) -> Exit:
        """Return how it ended, as the kubelet wrote it down, but for the time of it.

        Raises:
            FaultError: nothing was written down in time.
        """
        pods = self.pods
        pods.wait_for(lambda: pods.ended(self.container.id) is not None, REPORTED_WITHIN_S)
        over = pods.ended(self.container.id)
        if over is None:
            raise FaultError(
                f"the end of pod {self.container.pod} was not told within {REPORTED_WITHIN_S:g} s"
            )
        number = over.code - 128 if 128 < over.code < 128 + 65 else None
        return Exit(over.code, number, at_ns, "container-status")


def _started_ns(ticks: int) -> int:
    """Return the wall clock of a start tick; the boot time alone is known to the second."""
    uptime_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return time.time_ns() - round((uptime_s - ticks / os.sysconf("SC_CLK_TCK")) * 1e9)


def freeze(lifetime: ContainerLifetime) -> str:
    """Stop all its processes and return the state of the main one as the kernel tells it."""
    lifetime.signal(signal.SIGSTOP, whole=True)
    return wait_stopped(lifetime.pid, STOP_WITHIN_S)


def _members(pid: int) -> list[int]:
    """Return the processes of the container that a process is the main one of."""
    with suppress(ServiceError):
        return sorted(members(memory_folder(pid))) or [pid]
    return [pid]
