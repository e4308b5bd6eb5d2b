"""SIGKILL to a process that the target's main process has forked, and what that one does then."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from select import poll

from lossmeter.errors import FaultError
from lossmeter.faults._fault import now
from lossmeter.faults._lifetimes import TREE, Before, same_process, serves_again
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Ending, Process, ProcessTree, Site
from lossmeter.world.waiting import wait_for

ENDS_WITHIN_S = 5.0
ANOTHER_WITHIN_S = 5.0


class Killing:
    """The youngest child is killed: the workers of a pool come after what serves the pool.

    Evidence: the kernel's notice of its end, the list of the target's processes, and that the
    main process is the same as before. Whether there is another child then is a finding.
    """

    _before: Before
    _child: Process | None = None
    _count = 0
    _killed_ns = 0

    def strike(self, site: Site, target: ProcessTree) -> list[Evidence]:
        """Kill it.

        Raises:
            FaultError: the main process has no child.
        """
        self._before = Before.look(target, site.probe.samples())
        children = _children(target, self._before.process.pid)
        if not children:
            raise FaultError(
                f"the main process {self._before.process.pid} has no child that could be killed"
            )
        child, self._count = children[-1], len(children)
        try:
            handle = os.pidfd_open(child.pid)
        except ProcessLookupError:
            raise FaultError(f"child {child.pid} ended before it was killed") from None
        try:
            self._killed_ns = target.kill_process(child.pid)
            self._child = child
            waits = poll()
            waits.register(handle)
            over = bool(waits.poll(ENDS_WITHIN_S * 1000))
        finally:
            os.close(handle)
        took_s = (time.time_ns() - self._killed_ns) / 1e9
        name = f"process {child.pid} ({child.name})"
        left = [each for each in target.processes() if each.pid == child.pid and not each.ended]
        return [
            now("pidfd", "the child ended after SIGKILL", f"{name}, {took_s:.3f} s after", over),
            now(TREE, "the child is none of the target's processes any more", name, not left),
            same_process(self._before, target),
        ]

    def mend(self, site: Site, target: ProcessTree) -> list[Evidence]:
        """See what the main process did about it; start the target again if it has ended too."""
        if self._child is None:
            return []
        end = target.wait_exit(0) if isinstance(target, Ending) else None
        if end is not None:
            said = f"it ended with exit code {end.code}"
            gone = now(end.source, "the main process outlived its child", said, holds=False)
            return [gone, *serves_again(site, self._before, target.start(), end.at_ns)]
        new = wait_for(lambda: self._new(target), ANOTHER_WITHIN_S)
        said = ", ".join(f"process {each.pid} ({each.name})" for each in new)
        said = f"started {said}" if new else f"started none within {ANOTHER_WITHIN_S:g} s"
        now_ = len(_children(target, self._before.process.pid))
        said += f"; it had {plural(self._count, 'child', 'children')} and has {now_}"
        claim = "what the main process did about the end of its child was seen"
        return [now(TREE, claim, said, holds=True), same_process(self._before, target)]

    def _new(self, target: ProcessTree) -> list[Process]:
        children = _children(target, self._before.process.pid)
        return [each for each in children if self._after(each)]

    def _after(self, process: Process) -> bool:
        return self._child is not None and (process.start_ticks, process.pid) > (
            self._child.start_ticks,
            self._child.pid,
        )


def _children(target: ProcessTree, main_pid: int) -> Sequence[Process]:
    """Return the children of the main process that run, the oldest first."""
    found = [each for each in target.processes() if each.parent == main_pid and not each.ended]
    return sorted(found, key=lambda each: (each.start_ticks, each.pid))
