"""``harness doctor``."""

from __future__ import annotations

import typer

from harness.commands._shared import OUT
from harness.errors import ExitCode


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Say what this machine can run and what is missing, in plain words."""
    from harness import runtimes
    from harness.cache import cache_root
    from harness.monitor.install import installed
    from harness.plugins import load, names_in
    from harness.report import doctor as rooms
    from harness.services import discover

    available = {
        name: load(runtimes, name, "runtime").RUNTIME.unavailable() for name in names_in(runtimes)
    }
    servers = rooms.service_findings(discover())
    monitor = installed()
    watched = rooms.Finding(
        *("prometheus", True),
        monitor.version if monitor else "not here; `harness run --monitor` brings it, by apt",
    )
    machine = rooms.machine_findings(cache_root())
    rooms.show([*machine, *rooms.runtime_findings(available), *servers, watched], OUT)
    if any(not finding.fine for finding in servers):
        OUT.print("Missing servers come by themselves with the next run, or by `make servers`.")
    # One runtime is enough.
    fine = all(each.fine for each in [*machine, *servers]) and None in available.values()
    raise typer.Exit(ExitCode.WITHIN_BUDGET if fine else ExitCode.HARNESS_ERROR)
