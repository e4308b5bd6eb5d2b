"""``lossmeter doctor``: what this machine can run and what is missing, in plain words."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import typer

from lossmeter.commands._shared import OUT
from lossmeter.errors import ExitCode

if TYPE_CHECKING:
    from lossmeter.report._layout import Grid
    from lossmeter.world.service import Service

NEEDED_GIB = 1.0
NEEDED_MEMORY_GIB = 2.0


def command() -> None:
    """Say what this machine can run and what is missing, in plain words.

    Exit codes: 0 runs can be made; what is not here yet comes by itself. 3 the machine lacks
    something that does not: memory, disk, every runtime, or leave to run a server.
    """
    from lossmeter.plugins import load, names_in
    from lossmeter.run.monitor.install import installed
    from lossmeter.world import runtimes
    from lossmeter.world.install.cache import cache_root
    from lossmeter.world.runtimes import local
    from lossmeter.world.services import discover

    available = {
        name: load(runtimes, name, "runtime").RUNTIME.unavailable() for name in names_in(runtimes)
    }
    servers = service_findings(discover())
    monitor = installed()
    watched = Finding(
        *("prometheus", True),
        monitor.version if monitor else "not here; `lossmeter run --monitor` brings it, by apt",
    )
    machine = machine_findings(cache_root())
    _show([*machine, *runtime_findings(available), *servers, watched])
    if any(not finding.fine and finding.comes for finding in servers):
        OUT.print(
            "Servers that are not here are downloaded by the first run that needs them; "
            "`python -m lossmeter.world.services` brings them now."
        )
    # One runtime is enough, and what comes by itself is no lack. In containers all servers run.
    contained = [why for name, why in available.items() if name != local.RUNTIME.name]
    able = None in contained or all(each.fine or each.comes for each in servers)
    fine = all(each.fine for each in machine) and None in available.values() and able
    raise typer.Exit(ExitCode.WITHIN_BUDGET if fine else ExitCode.HARNESS_ERROR)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        reported: one line in plain words; for a lack, how to get it.
        comes: what is missing comes by itself with the next run that needs it.
    """

    what: str
    fine: bool
    reported: str
    comes: bool = False

    @property
    def mark(self) -> str:
        """Return one word for it."""
        return "ok" if self.fine else "comes by itself" if self.comes else "missing"

    @property
    def kind(self) -> str:
        """Return how that is drawn."""
        return "pass" if self.fine else "quiet" if self.comes else "doubt"


def machine_findings(cache: Path) -> list[Finding]:
    """Look at the machine itself."""
    memory_gib = psutil.virtual_memory().available / 2**30
    free_gib = shutil.disk_usage(_existing(cache)).free / 2**30
    user = "root: servers that refuse root run as nobody" if os.geteuid() == 0 else "ordinary user"
    return [
        Finding("python", True, platform.python_version()),
        Finding("user", True, user),
        Finding("cores", True, f"{os.cpu_count()}: one for the load, the others for the rest"),
        Finding(
            "memory",
            memory_gib >= NEEDED_MEMORY_GIB,
            f"{memory_gib:.1f} GiB available; Kafka and the others need {NEEDED_MEMORY_GIB:g} GiB",
        ),
        Finding(
            "disk",
            free_gib >= NEEDED_GIB,
            f"{free_gib:.1f} GiB free for {cache}; LOSSMETER_CACHE names another place",
        ),
    ]


def service_findings(services: Mapping[str, Service]) -> list[Finding]:
    """Look at each server in the cache."""
    lacks = {name: (each.unfit(), each.missing()) for name, each in services.items()}
    return [
        Finding(name, not (unfit or lack), unfit or lack or services[name].version(), not unfit)
        for name, (unfit, lack) in lacks.items()
    ]


def runtime_findings(runtimes: Mapping[str, str | None]) -> list[Finding]:
    """Tell of each runtime whether it can be used: name and why not, or None."""
    return [
        Finding(f"runtime {name}", why is None, why or "available")
        for name, why in runtimes.items()
    ]


def _show(findings: Sequence[Finding]) -> None:
    OUT.print(found_table(findings))


def found_table(findings: Sequence[Finding]) -> Grid[Finding]:
    """Return a line for each thing looked at."""
    from lossmeter.report._layout import Column, Grid, Line

    return Grid(
        "What this machine can run",
        (
            Column("what", lambda each: each.what, 0, words=True),
            Column("state", lambda each: Line(each.mark, each.kind), 0, words=True),
            Column("found", lambda each: each.reported, 0, words=True),
        ),
        findings,
    )


def _existing(path: Path) -> Path:
    """Return the nearest folder above that exists."""
    while not path.exists():
        path = path.parent
    return path
