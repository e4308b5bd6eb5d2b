"""Who used the CPUs while the load ran, by what the kernel counted of each process.

What limits a rate is not guessed but seen: a target that falls behind while CPUs were idle waits
for something else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lossmeter.model import IDLE, OTHERS
from lossmeter.world.headroom import cores, idle_seconds
from lossmeter.world.process_table import process_table
from lossmeter.world.site import Process

HARNESS = "harness"
LOOK_EVERY_S = 1.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Named = Callable[[], Mapping[str, Sequence[int]]]


@dataclass(slots=True)
class _Seen:
    """One process: whose it is, and its seconds of CPU at the first and the last look."""

    name: str
    first_s: float
    last_s: float


class CpuUse:
    """Looks now and then at the processes of a run; one that ends counts up to the last look.

    Args:
        named: returns the ids of processes by what they are called. Their descendants are
            counted with them, and what else descends from this process is the harness.
    """

    def __init__(self, named: Named) -> None:
        self._named = named
        self._seen: dict[tuple[int, int], _Seen] = {}
        self._began_ticks = time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S
        self._began_s = self._last_s = 0.0
        self._idle_s = (0.0, 0.0)
        self.look()

    def look(self) -> None:
        """Take note of what each has used by now, unless that was done a moment ago."""
        if time.monotonic() - self._last_s < LOOK_EVERY_S:
            return
        table, idle_s, now_s = process_table(), idle_seconds(), time.monotonic()
        names = {pid: name for name, pids in self._named().items() for pid in pids}
        names.setdefault(os.getpid(), HARNESS)
        for process in table.values():
            if (name := _whose(process, table, names)) is not None:
                self._note(process, name)
        if not self._last_s:
            self._began_s, self._idle_s = now_s, (idle_s, idle_s)
        self._last_s, self._idle_s = now_s, (self._idle_s[0], idle_s)

    def _note(self, process: Process, name: str) -> None:
        key = (process.pid, process.start_ticks)
        if (seen := self._seen.get(key)) is not None:
            seen.last_s = process.cpu_s
            return
        new = process.start_ticks >= self._began_ticks
        self._seen[key] = _Seen(name, 0.0 if new else process.cpu_s, process.cpu_s)

    def cpus(self) -> dict[str, float]:
        """Return how many CPUs each used on average from the first look to the last.

        Returns:
            By name, the most first; ``others`` are processes that are not of the run, and
            ``idle`` is what nobody used. In sum they are the CPUs that this process may use.
            Empty where there was but one look.
        """
        span_s = self._last_s - self._began_s
        if not span_s:
            return {}
        used: dict[str, float] = {}
        for seen in self._seen.values():
            used[seen.name] = used.get(seen.name, 0.0) + (seen.last_s - seen.first_s) / span_s
        idle = (self._idle_s[1] - self._idle_s[0]) / span_s
        others = max(0.0, cores() - idle - sum(used.values()))
        ordered = sorted(used.items(), key=lambda item: -item[1])
        found = {**dict(ordered), OTHERS: others, IDLE: idle}
        return {name: round(each, 3) for name, each in found.items()}


def _whose(process: Process, table: Mapping[int, Process], names: Mapping[int, str]) -> str | None:
    """Return what the nearest ancestor with a name is called; None for no process of the run."""
    at: Process | None = process
    # A table is not read in one moment: parents may seem to go round in it.
    for _ in range(len(table)):
        if at is None:
            return None
        if at.pid in names:
            return names[at.pid]
        at = table.get(at.parent)
    return None
