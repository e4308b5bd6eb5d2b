"""Whose a process is: the mark that everything started by a harness carries.

The mark stands in the environment, which descendants inherit. It names the run and the
harness process that owns it, so that what a dead harness left behind can be given from what
a living one uses, and from everything else on the machine.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from lossmeter.world.process_table import read

MARK = "LOSSMETER_RUN"
_NUMBERS = re.compile(r"[0-9]{1,10}:[0-9]{1,20}", re.ASCII)
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Owner:
    """The harness process that a run belongs to, named for ever.

    Attributes:
        run_id: the run.
        pid: the process, in its own pid namespace.
        start_ticks: the kernel's start time of it; with the pid it is used once per boot.
        world: the boot of the machine and the pid namespace.
    """

    run_id: str
    pid: int
    start_ticks: int
    world: str

    @classmethod
    def this_process(cls, run_id: str) -> Self:
        """Return this process as the owner of ``run_id``."""
        return cls(run_id, os.getpid(), start_ticks(os.getpid()), _world())

    @classmethod
    def parse(cls, mark: str) -> Self | None:
        """Read a mark back; None when it is not one of ours."""
        match mark.rsplit(":", 3):
            # Any process of any user may bear a mark; Python takes much more for digits.
            case [run_id, pid, ticks, world] if run_id and _NUMBERS.fullmatch(f"{pid}:{ticks}"):
                return cls(run_id, int(pid), int(ticks), world)
        return None

    @classmethod
    def of_folder(cls, name: str) -> Self | None:
        """Read a folder's name back; None when it is not one of ours."""
        return cls.parse(name.replace("~", ":"))

    @property
    def mark(self) -> str:
        """Return the mark's text."""
        return f"{self.run_id}:{self.pid}:{self.start_ticks}:{self.world}"

    @property
    def folder_name(self) -> str:
        """Return the mark as a file name."""
        return self.mark.replace(":", "~")

    def alive(self) -> bool:
        """Return whether that very process still runs, as far as can be given from here.

        A process of another pid namespace, as in a container that shares our files, cannot
        be looked up; it counts as alive, for what it uses must not be removed.
        """
        boot, _, namespace = self.world.partition(".")
        here_boot, _, here_namespace = _world().partition(".")
        if boot != here_boot:
            return False
        return namespace != here_namespace or start_ticks(self.pid) == self.start_ticks


@cache
def _world() -> str:
    """Return where a pid means something: this boot of the machine, and the pid namespace."""
    return f"{this_boot()}.{Path('/proc/self/ns/pid').stat().st_ino}"


def this_boot() -> str:
    """Return a short name for this boot of the machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return boot.replace("-", "")[:12]


def start_ticks(pid: int) -> int:
    """Return the kernel's start time of a process in clock ticks since boot; 0 if gone."""
    found = read(pid)
    return 0 if found is None or found.ended else found.start_ticks


class _Program:
    """Whether this process is a program of the harness's own, and so are all its children."""

    ours = False


def is_program() -> None:
    """Declare it, as the command line does; a test suite that runs the harness does not."""
    _Program.ours = True


def keep_orphans() -> bool:
    """Have orphans fall to this process, and not to init; return whether they do.

    Only a program of the harness's own does so: elsewhere they might be somebody else's.
    """
    if not _Program.ours:
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def inherited_mark() -> dict[str, str]:
    """Return the mark of this process's own environment, for processes given a bare one."""
    return {MARK: os.environ[MARK]} if MARK in os.environ else {}
