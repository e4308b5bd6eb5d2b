"""The target gets no more memory than it has and a little: the kernel kills it, or it lives.

Its own backlog does the rest: where the queue is in its memory, it grows until the kernel
ends it. Where the queue is elsewhere, nothing happens, and that is a result too.

Parameters:
    headroom_mib: MiB above what it uses when the fault starts.
    within_s: seconds that it has to be killed in.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping

from harness.errors import FaultError
from harness.faults._lives import (
    Before,
    accounted,
    actions,
    capable,
    ended,
    gap,
    new_boot,
    new_life,
    recorded,
    seen_again,
)
from harness.model import Evidence
from harness.site import Exit, Memory, MemoryLimited, Site

NAME = "oom"
MIB = 2**20
CODE = 128 + signal.SIGKILL


class Oom:
    """Limits the target's memory and waits for the kernel.

    Evidence of a kill: exit code 137, the kernel's count of OOM kills, an engine's record
    that names the want of memory and no kill of ours, and another life afterwards. Evidence
    of a survival: the limit that was in force, the unchanged count, and the same life.
    """

    needs: tuple[type, ...] = (MemoryLimited,)

    def __init__(self, headroom_mib: float, within_s: float) -> None:
        self._headroom = round(headroom_mib * MIB)
        self._within_s = within_s
        self._before: Before | None = None
        self._exit: Exit | None = None
        self._limited = False
        self.struck_ns: int | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Set the limit and wait for the end of the process, or for the time to be over."""
        target = capable(site, MemoryLimited, NAME)
        self._before = Before.look(target, site.probe.samples())
        at_first = target.memory()
        # The kernel counts in pages.
        limit = (at_first.used_bytes + self._headroom) // 4096 * 4096
        self._limited = True
        target.limit_memory(limit)
        in_force = target.memory()
        self._exit = target.wait_exit(self._within_s)
        now = target.memory()
        kernel = self._kernel(at_first, now)
        if self._exit is None:
            return [self._survived(limit, now), kernel, *self._engine(site)]
        self.struck_ns = self._exit.at_ns
        claim = f"the process was ended by SIGKILL under a limit of {_mib(in_force.limit_bytes)}"
        killed = self._exit.code == CODE
        return [ended(self._before, self._exit, claim, killed), kernel, *self._engine(site)]

    def heal(self, site: Site) -> list[Evidence]:
        """Lift the limit, and start the target again if it was killed."""
        target = capable(site, MemoryLimited, NAME)
        if self._limited:
            target.limit_memory(None)
        if self._before is None or not self._limited:
            return []
        if self._exit is None:
            now = target.incarnation()
            same = (now.pid, now.start_ticks) == (
                self._before.life.pid,
                self._before.life.start_ticks,
            )
            return [
                Evidence(
                    source="process-table",
                    claim="the same process lives on",
                    value=f"pid and start tick {now.pid}/{now.start_ticks}",
                    holds=same,
                    at_ns=time.time_ns(),
                )
            ]
        after = target.start()
        again = seen_again(site)
        return [
            new_life(self._before, after),
            gap(site, self._exit.at_ns, again),
            *new_boot(self._before, again),
            *accounted(
                site,
                self._before.at_ns,
                "the container was ended for want of memory and started again",
                lambda told: {"oom", f"die {CODE}", "start"} <= set(told),
            ),
        ]

    def _survived(self, limit: int, now: Memory) -> Evidence:
        return Evidence(
            source="control-group",
            claim="the kernel held the target to its limit, and it lived",
            value=f"limit {_mib(now.limit_bytes)}, used {_mib(now.used_bytes)}",
            holds=now.limit_bytes == limit,
            at_ns=time.time_ns(),
        )

    def _kernel(self, before: Memory, after: Memory) -> Evidence:
        kills = after.oom_kills - before.oom_kills
        killed = self._exit is not None
        return Evidence(
            source="kernel-oom-count",
            claim="the kernel killed for want of memory" if killed else "the kernel killed nobody",
            value=f"oom_kill {before.oom_kills} became {after.oom_kills}",
            holds=(kills > 0) == killed,
            at_ns=time.time_ns(),
        )

    def _engine(self, site: Site) -> list[Evidence]:
        if self._before is None:
            return []
        if self._exit is None:
            return recorded(
                site,
                self._before.at_ns,
                "the engine saw no end of it",
                lambda seen: not any(action.startswith("die") for action in actions(seen)),
            )
        return recorded(
            site,
            self._before.at_ns,
            "the engine saw it run out of memory and end, and had sent no signal",
            lambda seen: (
                {"oom", f"die {CODE}"} <= set(actions(seen))
                and not any(action.startswith("kill") for action in actions(seen))
            ),
        )


def _mib(value: int | None) -> str:
    return "no limit" if value is None else f"{value / MIB:.1f} MiB"


def build(parameters: Mapping[str, str | int | float]) -> Oom:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    for name, value in parameters.items():
        if name not in {"headroom_mib", "within_s"}:
            raise FaultError(f"oom takes headroom_mib and within_s, got {name}")
        if isinstance(value, str) or not 0 < value <= 3600:
            raise FaultError(f"oom: {name} is {value!r}; right is a number above 0 up to 3600")
    return Oom(float(parameters.get("headroom_mib", 16)), float(parameters.get("within_s", 20)))
