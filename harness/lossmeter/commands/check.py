"""``lossmeter check``."""

from __future__ import annotations

from typing import Annotated

import typer

from lossmeter.commands._running import prepare, runnable
from lossmeter.commands._shared import ERR, OUT, RunsOn, runtimes_named
from lossmeter.errors import ExitCode, UsageError

SEED = 1


def command(
    target: Annotated[
        str, typer.Argument(metavar="NAME|FILE.toml", help="Target to try, see `lossmeter list`.")
    ],
    runtime: RunsOn = "auto",
) -> None:
    """Try a target: start it, send ten events, and say what is right and what is not.

    Nothing is struck. Exits with 0 when a fault can be asked for next, with 1 when something
    of the target or its file is wrong.
    """
    from lossmeter.plan.catalogue import Catalogue, cells
    from lossmeter.report.console import ConsoleNarrator
    from lossmeter.run.story import Ask, run
    from lossmeter.studies.checking import EXPERIMENT, Kind, findings, hurried
    from lossmeter.world.scratch import scratch_folder

    asked = [hurried(cell) for cell in cells(Catalogue.here(), EXPERIMENT, [target], [])]
    ready, skipped = runnable(asked, runtimes_named(runtime))
    if not ready:
        raise UsageError(f"target {target} cannot be run: {skipped[0].reason}")
    prepare(ready)
    (placed,) = ready
    with scratch_folder("check") as runs:
        with ConsoleNarrator(ERR, f"check × {placed.cell.target.name}") as narrator:
            result = run(Ask(placed.cell, placed.runtime, SEED, runs, narrator))
        found = findings(placed.cell.target, result, runs / result.run_id)
    for each in found:
        OUT.print(f"{each.kind}: {each.text}", highlight=False, markup=False, soft_wrap=True)
    if any(each.kind is Kind.WRONG for each in found):
        raise typer.Exit(ExitCode.OVER_BUDGET)
    OUT.print(f"next: lossmeter run crash --target {target}", markup=False, soft_wrap=True)
