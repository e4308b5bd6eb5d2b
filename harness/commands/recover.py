"""``harness recover``."""

from __future__ import annotations

import typer

from harness.commands._shared import OUT


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("recover")(recover)


def recover() -> None:
    """Remove what killed harnesses left behind: processes, ports, folders. Nothing else."""
    from harness import runtimes
    from harness.plugins import load, names_in

    removed = []
    for name in names_in(runtimes):
        removed += load(runtimes, name, "runtime").RUNTIME.recover()
    for line in removed:
        OUT.print(f"removed {line}", highlight=False)
    if not removed:
        OUT.print("nothing was left behind")
