"""How many files and connections a process may have open."""

from __future__ import annotations

import resource

# Many systems give a process 1024 unless it asks for more: a load that waits for a stalled
# target has more connections than that, and so has the target.
WANTED = 65_536


def allow() -> int:
    """Let this process, and those that it starts, have many files open; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft
