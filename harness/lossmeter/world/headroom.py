"""How much CPU this machine had to spare over the last seconds, measured."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from pathlib import Path

STAT = Path("/proc/stat")
SPAN_S = 2.0
# Of the columns of ``proc_stat(5)`` those in which a CPU did nothing: idle, and waiting for a disk.
_IDLE = (4, 5)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cores() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


class Headroom:
    """Looks now and then at what the CPUs that this process may use have done."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()

    def look(self) -> None:
        """Take note of how it is now; of what is long past nothing is kept."""
        now, idle_s = time.monotonic(), idle_seconds()
        with self._lock:
            self._looks.append((now, idle_s))
            # The youngest that is old enough stays: from it to now is what is asked for.
            while len(self._looks) > 1 and now - self._looks[1][0] >= SPAN_S:
                self._looks.popleft()

    def idle_cores(self) -> float | None:
        """Return how many CPUs were idle on average; None before ``SPAN_S`` have been seen."""
        with self._lock:
            if not self._looks:
                return None
            (begin, idle_then_s), (end, idle_s) = self._looks[0], self._looks[-1]
        return None if end - begin < SPAN_S else (idle_s - idle_then_s) / (end - begin)


def idle_seconds(stat: Path = STAT) -> float:
    """Return how long the CPUs that this process may use have been idle since boot, in sum."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    rows = (line.split() for line in stat.read_text(encoding="ascii").splitlines())
    ticks = sum(int(row[column]) for row in rows if row[0] in ours for column in _IDLE)
    return ticks / _TICKS_PER_S
