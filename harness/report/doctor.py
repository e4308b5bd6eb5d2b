"""Says what this machine can run and what is missing, in plain words."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from harness.service import Service

NEEDED_GIB = 1.0
NEEDED_MEMORY_GIB = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: what was looked at.
        fine: whether it is as a run needs it.
        told: one line in plain words; for a lack, how to get it.
    """

    what: str
    fine: bool
    told: str


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
    found = []
    for name, service in services.items():
        lack = service.missing()
        found.append(Finding(name, lack is None, lack or service.version()))
    return found


def runtime_findings(runtimes: Mapping[str, str | None]) -> list[Finding]:
    """Tell of each runtime whether it can be used: name and why not, or None."""
    return [
        Finding(f"runtime {name}", why is None, why or "available")
        for name, why in runtimes.items()
    ]


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings as a table."""
    table = Table("what", "", "found", title="What this machine can run", title_justify="left")
    for finding in findings:
        mark = "[green]ok[/green]" if finding.fine else "[yellow]missing[/yellow]"
        table.add_row(finding.what, mark, finding.told)
    console.print(table)


def _existing(path: Path) -> Path:
    """Return the nearest folder above that exists."""
    while not path.exists():
        path = path.parent
    return path
