"""``lossmeter recover``."""

from __future__ import annotations

from lossmeter.commands._shared import OUT


def command() -> None:
    """Remove what killed harnesses left behind: processes, ports, folders. Nothing else."""
    from lossmeter.plugins import load, names_in
    from lossmeter.world import recovery, runtimes

    known = [load(runtimes, name, "runtime").RUNTIME for name in names_in(runtimes)]
    removed = recovery.recover(known)
    for line in removed:
        OUT.print(f"removed {line}", highlight=False)
    if not removed:
        OUT.print("nothing was left behind")
