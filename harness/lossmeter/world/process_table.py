"""The processes of this machine, as the kernel lists them.

Read as bytes: neither a process's name nor its environment need be UTF-8.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from lossmeter.world.site import Process
from lossmeter.world.waiting import wait_for

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# The letters of ``proc_pid_stat(5)``.
_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "disk-sleep",
    "T": "stopped",
    "t": "tracing-stop",
    "Z": "zombie",
    "X": "dead",
    "I": "idle",
}


def process_table() -> dict[int, Process]:
    """Return all processes by their ids; those that have ended and wait to be reaped too."""
    entries = (entry.name for entry in _PROC.iterdir())
    found = (read(int(entry)) for entry in entries if entry.isdecimal())
    return {process.pid: process for process in found if process is not None}


def read(pid: int) -> Process | None:
    """Return one process, or None when it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold spaces and brackets; fields count from behind it.
    head, _, rest = text.rpartition(b")")
    fields = rest.split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        name=printable(head.partition(b"(")[2]),
        state=fields[0].decode("ascii"),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
    )


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; empty where it is not to be had.

    So it is of a process that wrote over it, as PostgreSQL's do with their titles.
    """
    try:
        text = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    # Of two of a name the first counts, as for getenv.
    lines = reversed(text.decode(errors="replace").split("\0"))
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, equals, value in pairs if equals}


def command(pid: int) -> str:
    """Return a process's command line on one line, fit to be shown; empty when it is gone."""
    try:
        text = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return printable(text.replace(b"\0", b" ").strip())


def send(process: Process, number: int) -> bool:
    """Send a signal to exactly this process; return whether it was still there.

    Raises:
        PermissionError: this user may not.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # Compared while the handle holds on to it: its id may have been another's by then.
        now = read(process.pid)
        if now is None or now.start_ticks != process.start_ticks or now.ended:
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
            return True
        return False
    finally:
        os.close(handle)


def wait_stopped(pid: int, within_s: float) -> str:
    """Wait until a process is stopped; return its state as the kernel has it by then."""
    state = ""

    def stopped() -> bool:
        nonlocal state
        found = read(pid)
        state = found.state if found is not None else "X"
        return state == "T"

    wait_for(stopped, within_s, 0.001)
    return _STATES.get(state, state)


def printable(text: bytes) -> str:
    """Return text of somebody else's that a terminal can show and does not obey."""
    decoded = text.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in decoded)
