"""A target that leaves processes behind, each hidden in another way; run as a program.

``python hiding.py PIDS [COMMAND...]`` writes the ids of what it hid into the file PIDS, one a
line with the way, and then becomes COMMAND, or sleeps. It begins when there is the file ``GO``
of its environment, where that names one.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

PR_SET_NAME = 15
SLEEP = "import time; time.sleep(600)"


def child(pids: str) -> None:
    """A child in the same session, under the same mark."""
    if os.fork() == 0:
        note(pids, "child")
        time.sleep(600)


def bare(pids: str) -> None:
    """One that drops its environment."""
    if os.fork() == 0:
        note(pids, "bare")
        os.execve(sys.executable, [sys.executable, "-c", SLEEP], {})


def session(pids: str) -> None:
    """One in a session of its own, without an environment."""
    if os.fork() == 0:
        os.setsid()
        note(pids, "session")
        os.execve(sys.executable, [sys.executable, "-c", SLEEP], {})


def daemon(pids: str) -> None:
    """One that nobody is the parent of any more, under another name."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note(pids, "daemon")
            ctypes.CDLL(None).prctl(PR_SET_NAME, b"[kwork\xe9r/0]", 0, 0, 0)
            hide_environment()
            time.sleep(600)
        os._exit(0)


def forking(pids: str) -> None:
    """One that goes on as another process again and again."""
    if os.fork() == 0:
        os.setsid()
        note(pids, "forking")
        while True:
            time.sleep(0.01)
            if os.fork() != 0:
                os._exit(0)
            os.setsid()


WAYS = {each.__name__: each for each in (child, bare, session, daemon)}


def note(pids: str, way: str) -> None:
    """Write down the own process id; the mark must not tell where a file would."""
    with Path(pids).open("a") as file:
        file.write(f"{os.getpid()} {way}\n")


def hide_environment() -> None:
    """Overwrite what ``/proc/PID/environ`` shows, as titles that are set in place do."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    start, end = map(int, fields[47:49])
    with Path("/proc/self/mem").open("r+b", 0) as memory:
        memory.seek(start)
        memory.write(bytes(end - start))


def main() -> None:
    pids, *command = sys.argv[1:]
    while (go := os.environ.get("GO")) and not Path(go).exists():
        time.sleep(0.01)
    for way in WAYS.values():
        way(pids)
    if os.environ.get("FORKING"):
        forking(pids)
    if command:
        os.execv(command[0], command)
    time.sleep(600)


if __name__ == "__main__":
    main()
