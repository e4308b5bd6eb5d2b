"""Removing what harnesses that no longer run left behind, whatever they ran on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from signal import SIGKILL

from lossmeter.world.install.cache import remove_unfinished
from lossmeter.world.process_table import process_table
from lossmeter.world.runtime import Runtime
from lossmeter.world.runtimes._family import end_dead, kill_own_targets
from lossmeter.world.runtimes._processes import kill_dead, marked, may_send
from lossmeter.world.runtimes._state import remove_dead
from lossmeter.world.scratch import KIND
from lossmeter.world.site import Process


def recover(runtimes: Iterable[Runtime]) -> list[str]:
    """End their processes, then remove all else that they left; return a line for each."""
    # A target's record finds what no longer carries its mark; helpers and servers carry theirs.
    removed = [*end_dead(), *kill_dead()]
    for runtime in runtimes:
        removed += runtime.recover()
    # Those that were building are dead by now.
    return [*removed, *remove_dead(KIND), *remove_unfinished()]


def kill_own() -> None:
    """Send SIGKILL to all that this process has started, and wait for nothing.

    Also to what harnesses below it have started, and to these.
    """
    kill_own_targets()
    ours = _with_descendants(os.getpid(), process_table())
    found = [(process, owner) for process, owner in marked() if owner.alive()]
    harnesses = {owner.pid for _, owner in found} & ours.keys() - {os.getpid()}
    for process in [ours[pid] for pid in sorted(harnesses)]:
        may_send(process, SIGKILL)
    for process, owner in found:
        if owner.pid in ours:
            may_send(process, SIGKILL)


def _with_descendants(pid: int, table: Mapping[int, Process]) -> dict[int, Process]:
    ours = {pid: table[pid]}
    while more := {
        each.pid: each
        for each in table.values()
        if each.parent in ours and each.pid not in ours and not each.ended
    }:
        ours |= more
    return ours
