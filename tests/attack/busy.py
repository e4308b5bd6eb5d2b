"""How much longer things take on a machine that others keep busy too."""

from __future__ import annotations

import os

CORES = os.cpu_count() or 1
# Beyond this a limit would show nothing any more.
MOST = 5.0


def longer() -> float:
    """Return by what factor a limit is to be longer now; from 1, where a processor is free.

    Whatever waits for its turn waits for all that are before it, some of them twice: a run starts
    processes that wait for each other.
    """
    return min(MOST, max(1.0, 1.5 * os.getloadavg()[0] / CORES))
