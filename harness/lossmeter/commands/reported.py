"""``lossmeter reported``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from lossmeter.commands._making import (
    Making,
    WithinMin,
    about,
    code_of,
    makeable,
    missing_of,
)
from lossmeter.commands._running import FreshServers, pool_of
from lossmeter.commands._shared import SEED, FixedSeed, RunsOn, make_folder, runtime_named, say


def command(
    report: Annotated[
        list[str] | None,
        typer.Option("--report", metavar="NAME", help="Only this report. Repeatable."),
    ] = None,
    runtime: RunsOn = "local",
    seed: FixedSeed = SEED,
    repeat: Annotated[
        int | None,
        typer.Option(min=1, max=100, metavar="N", help="Runs for each report; default: 3."),
    ] = None,
    within_min: WithinMin = 60.0,
    fresh_servers: FreshServers = False,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the page goes; default: results.")
    ] = None,
) -> None:
    """Run what known reports of losses are about, and write results/reported.md.

    Runs that were judged already, of the same target, experiment and code, are not made again;
    with --within-min 0 none is made, and the page is written from these. Exit code 7 when runs
    are missing or were not judged, else 0: a report that is seen is a finding, no failure.
    """
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.studies.reported import PAGE, STATE, plan_of
    from lossmeter.studies.standing import Plan, State

    catalogue = Catalogue.here()
    whole = plan_of(catalogue)
    plan = plan_of(catalogue, report or [])
    folder = to or catalogue.results
    make_folder("--to", folder)
    state, chosen = State.load(folder / STATE), runtime_named(runtime)
    given = about(catalogue, chosen)

    def keep() -> None:
        from lossmeter.report._templates import write
        from lossmeter.report.reported import reported_page
        from lossmeter.studies.reported import rows_of

        write(folder / STATE, state.model_dump_json(indent=1) + "\n")
        write(folder / PAGE, reported_page(rows_of(catalogue, state), whole, given))

    ready = makeable(Plan(repeat or plan.repeats, plan.entries), chosen)
    missing = missing_of(ready, state)
    how = Making(catalogue, chosen, seed, time.monotonic() + 60 * within_min, state, keep)
    with pool_of(fresh_servers) as pool:
        how.in_turn(missing, pool)
    keep()
    say(f"table: {folder / PAGE}")
    raise typer.Exit(code_of(ready, state))
