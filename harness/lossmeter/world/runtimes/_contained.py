"""The processes of the target that are in a container, as the kernel of this machine has them."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import suppress
from signal import SIGKILL

from lossmeter.errors import FaultError, ServiceError
from lossmeter.world.runtimes._cgroups import memory_folder, oom_kills, read
from lossmeter.world.runtimes._processes import may_send, members_of
from lossmeter.world.runtimes._target import one_of
from lossmeter.world.site import Exit, Memory, Process


class Contained:
    """What is seen of a container, and done to it, by the process ids that this machine gives.

    The kernel ends all of a container with its main process, so nothing outlives that.
    """

    @abstractmethod
    def _main_pid(self) -> int:
        """Return the main process; 0 while none runs."""

    @abstractmethod
    def _expect_end(self) -> None:
        """Take note that the main process may end from now on."""

    @abstractmethod
    def kill(self) -> Exit:
        """Send SIGKILL to the target's main process and wait for its end."""

    def processes(self) -> list[Process]:
        """Return what runs in the target's container, the oldest first."""
        pid, found = self._main_pid(), list[Process]()
        with suppress(ServiceError):
            found = members_of(memory_folder(pid)) if pid else []
        # Of one that has ended by now the kernel names the group of the whole machine.
        return found if any(each.pid == pid for each in found) else []

    def removed(self) -> list[str]:
        """Return none: no process outlives the main one of its container."""
        return []

    def kill_process(self, pid: int) -> int:
        """Send SIGKILL to one of them, behind the back of what runs the container."""
        chosen = one_of(self.processes(), pid)
        self._expect_end()
        now = time.time_ns()
        if not may_send(chosen, SIGKILL):
            raise FaultError(f"process {pid} cannot be killed from here, or has ended")
        return now

    def kill_tree(self) -> Exit:
        """Send SIGKILL to all of them: the kernel ends a container with its main process."""
        return self.kill()

    def kill_from_host(self) -> int:
        """Send SIGKILL to the main process, behind the back of what runs the container."""
        self._expect_end()
        return self.kill_process(self._main_pid())

    def memory(self) -> Memory:
        """Read the target's control group; the count of kills is that of the kernel."""
        pid = self._main_pid()
        return read(memory_folder(pid), oom_kills()) if pid else Memory(None, 0, oom_kills())
