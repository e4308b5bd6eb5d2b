"""Whose a process is: the mark that everything started by a harness carries.

The mark stands in the environment, which descendants inherit. It names the run and the
harness process that owns it, so that what a dead harness left behind can be told from what
a living one uses, and from everything else on the machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MARK = "LOSSMETER_RUN"


@dataclass(frozen=True, slots=True)
class Owner:
    """The harness process that a run belongs to, named for ever by its start time."""

    run_id: str
    pid: int
    start_ticks: int

    @classmethod
    def this_process(cls, run_id: str) -> Self:
        """Return this process as the owner of ``run_id``."""
        return cls(run_id, os.getpid(), start_ticks(os.getpid()))

    @classmethod
    def parse(cls, mark: str) -> Self | None:
        """Read a mark back; None when it is not one of ours."""
        run_id, _, rest = mark.partition(":")
        pid, _, ticks = rest.partition(":")
        if not (run_id and pid.isdigit() and ticks.isdigit()):
            return None
        return cls(run_id, int(pid), int(ticks))

    @property
    def mark(self) -> str:
        """Return the mark's text."""
        return f"{self.run_id}:{self.pid}:{self.start_ticks}"

    def alive(self) -> bool:
        """Return whether that very process still runs."""
        return start_ticks(self.pid) == self.start_ticks


def start_ticks(pid: int) -> int:
    """Return the kernel's start time of a process in clock ticks since boot; 0 if gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # The command name may hold spaces and brackets; fields count from behind it.
    state, *fields = stat.rpartition(")")[2].split()
    return 0 if state == "Z" else int(fields[18])


def inherited_mark() -> dict[str, str]:
    """Return the mark of this process's own environment, for processes given a bare one."""
    return {MARK: os.environ[MARK]} if MARK in os.environ else {}
