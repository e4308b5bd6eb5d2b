"""The target gets no more memory than it has and a little: the kernel kills it, or it lives.

Its own backlog does the rest: where the queue is in its memory, it grows until the kernel
ends it. Where the queue is elsewhere, nothing happens, and that is a result too.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Annotated

from lossmeter.faults._fault import now, within
from lossmeter.faults._lifetimes import (
    TREE,
    Before,
    accounted,
    ended,
    ended_by_itself,
    outlived,
    recorded,
    same_process,
    serves_again,
)
from lossmeter.faults._parts import AtProcess, AtTarget
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Exit, Memory, MemoryLimited, Process, ProcessTree, Site

LOOK_EVERY_S = 0.05
# The kernel has counted a kill before the end of the process can be waited for.
ENDS_WITHIN_S = 1.0
MIB = 2**20
CODE = 128 + signal.SIGKILL
MAX = 3600.0


class Takes(AtProcess):
    """MiB above what it uses when the fault starts, and the seconds that it has to be killed in."""

    headroom_mib: Annotated[float, within(0, MAX, "MiB", above=True)] = 16.0
    within_s: Annotated[float, within(0, MAX, "seconds", above=True)] = 20.0


class Oom(AtTarget[Takes]):
    """Limits the target's memory and waits for the kernel.

    Evidence of a kill: exit code 137, the kernel's count of OOM kills, an engine's record
    of that end and of no kill of ours, and another process afterwards. Evidence
    of a survival: the limit that was in force, the unchanged count, and the same process.

    Of several processes the kernel chooses. Where the target's can be listed and it chose a
    child, the evidence is the limit, the count, and that the main process is the same as
    before; which processes are gone, and whether the main process ends then, are findings.
    """

    takes = Takes
    needs = (MemoryLimited,)
    whole_machine = True
    delayed = True

    _before: Before | None = None
    _exit: Exit | None = None
    _limited = False

    def strike(self, site: Site) -> list[Evidence]:
        """Set the limit and wait for the end of the process, or for the time to be over."""
        target = self.capable(site, MemoryLimited)
        self._before = Before.look(target, site.probe.samples())
        at_first = target.memory()
        # The kernel counts in pages.
        headroom = round(self.asked.headroom_mib * MIB)
        limit = (at_first.used_bytes + headroom) // 4096 * 4096
        every = site.processes() if isinstance(site, ProcessTree) else []
        self._limited = True
        target.limit_memory(limit)
        in_force = target.memory()
        self._exit = self._wait(site, target, at_first.oom_kills)
        after = target.memory()
        kernel = self._kernel(at_first, after)
        if isinstance(site, ProcessTree) and self._chose_another(at_first, after):
            return [self._lived_on(limit, in_force), kernel, *self._gone(site, every)]
        if self._exit is None:
            self.survived = True
            return [self._lived_on(limit, after), kernel, *self._engine(site)]
        self.struck_ns = self._exit.at_ns
        claim = f"the process was ended by SIGKILL under a limit of {_mib(in_force.limit_bytes)}"
        killed = self._exit.code == CODE
        left = outlived(site, self._before.process.pid)
        end = ended(self._before, self._exit, claim, killed)
        return [end, *left, kernel, *self._engine(site)]

    def mend(self, site: Site) -> list[Evidence]:
        """Lift the limit, and start the target again if it was killed."""
        target = self.capable(site, MemoryLimited)
        if self._limited:
            target.limit_memory(None)
        if self._before is None or not self._limited:
            return []
        if self._exit is None:
            return self._main(site, self._before, target)
        after = target.start()
        return [
            *serves_again(site, self._before, after, self._exit.at_ns),
            *accounted(
                site,
                self._before.at_ns,
                "the container was ended for want of memory and started again",
                {"oom", f"die {CODE}", "start"}.issubset,
            ),
        ]

    def _wait(self, site: Site, target: MemoryLimited, kills: int) -> Exit | None:
        """Wait for the end of the main process, or until the kernel has killed another."""
        if not isinstance(site, ProcessTree):
            return target.wait_exit(self.asked.within_s)
        deadline = time.monotonic() + self.asked.within_s
        while (left_s := deadline - time.monotonic()) > 0:
            if (end := target.wait_exit(min(LOOK_EVERY_S, left_s))) is not None:
                return end
            if target.memory().oom_kills > kills:
                self.struck_ns = time.time_ns()
                return target.wait_exit(ENDS_WITHIN_S)
        return None

    def _chose_another(self, before: Memory, after: Memory) -> bool:
        """Return whether the kernel killed, and not the main process."""
        if after.oom_kills == before.oom_kills or (self._exit and self._exit.code == CODE):
            return False
        if self.struck_ns is None:
            self.struck_ns = self._exit.at_ns if self._exit else time.time_ns()
        return True

    def _gone(self, site: ProcessTree, every: Sequence[Process]) -> list[Evidence]:
        """Return which processes have ended since the limit was set; a finding, whichever."""
        left = {(each.pid, each.start_ticks) for each in site.processes() if not each.ended}
        gone = [each for each in every if (each.pid, each.start_ticks) not in left]
        named = ", ".join(f"process {each.pid} ({each.name})" for each in gone)
        said = named or f"none of {plural(len(every), 'process', 'processes')}: a younger one"
        found = [now(TREE, "the kernel chose a child of the main process", said, holds=True)]
        if self._exit is not None:
            claim = "the main process ended by itself when its child was gone"
            said = f"exit code {self._exit.code}"
            found.append(now(self._exit.source, claim, said, holds=True))
        return found

    def _main(self, site: Site, before: Before, target: MemoryLimited) -> list[Evidence]:
        """Return that the main process goes on; start it again if its child's end ended it."""
        end = target.wait_exit(0) if self.struck_ns is not None else None
        if end is None:
            return [same_process(before, target)]
        said = f"it ended with exit code {end.code}"
        own = now(end.source, "what the main process did about its child was seen", said, True)
        return [own, *serves_again(site, before, target.start(), end.at_ns)]

    def _lived_on(self, limit: int, after: Memory) -> Evidence:
        return now(
            "control-group",
            "the kernel held the target to its limit",
            f"limit {_mib(after.limit_bytes)}, used {_mib(after.used_bytes)}",
            after.limit_bytes == limit,
        )

    def _kernel(self, before: Memory, after: Memory) -> Evidence:
        kills = after.oom_kills - before.oom_kills
        killed = self.struck_ns is not None or self._exit is not None
        return now(
            "kernel-oom-count",
            "the kernel killed for want of memory" if killed else "the kernel killed nobody",
            f"oom_kill {before.oom_kills} became {after.oom_kills}",
            (kills > 0) == killed,
        )

    def _engine(self, site: Site) -> list[Evidence]:
        if self._before is None:
            return []
        if self._exit is None:
            return recorded(
                site,
                self._before.at_ns,
                "the engine saw no end of it",
                lambda said: not any(action.startswith("die") for action in said),
            )
        return recorded(
            site,
            self._before.at_ns,
            "the engine saw it end by SIGKILL, and had sent no signal",
            # Its notice of the want of memory is missing at times: it reads the count of a
            # control group that is gone with the container. The kernel's count is not.
            lambda said: f"die {CODE}" in said and ended_by_itself(said),
        )


def _mib(value: int | None) -> str:
    return "no limit" if value is None else f"{value / MIB:.1f} MiB"
