"""``lossmeter board``."""

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
from lossmeter.commands._turns import Jobs, at_once_of


def command(
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", metavar="NAME", help="Only this row. Repeatable."),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option("--experiment", "-e", metavar="NAME", help="Only this column. Repeatable."),
    ] = None,
    runtime: RunsOn = "local",
    seed: FixedSeed = SEED,
    repeat: Annotated[
        int | None,
        typer.Option(min=1, max=100, metavar="N", help="Runs of each cell; default: as its file."),
    ] = None,
    within_min: WithinMin = 60.0,
    fresh_servers: FreshServers = False,
    jobs: Jobs = "1",
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the table goes; default: results/frameworks."),
    ] = None,
) -> None:
    """Run the board of frameworks, and write its table and page.

    Runs that were judged already, of the same target, experiment and code, are not made again;
    with --within-min 0 none is made, and the table is written from these. Exit code 7 when cells
    are missing or were not judged, else 0: a promise that is broken is a finding, no failure.
    """
    from lossmeter.commands._asked import AskedBoard
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.studies.board import HTML, PAGE, STATE, plan_of
    from lossmeter.studies.standing import Plan, State

    at_once = at_once_of(jobs, runtime)
    catalogue = Catalogue.here()
    whole = plan_of(catalogue)
    asked = AskedBoard(
        targets=target or [], experiments=experiment or [], fresh_servers=fresh_servers
    )
    plan = plan_of(catalogue, asked.targets, asked.experiments)
    plan = Plan(repeat or plan.repeats, plan.entries)
    folder = to or catalogue.results / "frameworks"
    make_folder("--to", folder)
    state = State.load(folder / STATE)
    chosen = runtime_named(runtime)
    given = about(catalogue, chosen)

    def keep() -> None:
        from lossmeter.report._templates import write
        from lossmeter.report.board import board_html, board_markdown
        from lossmeter.report.board_view import board_view

        view = board_view(whole, state, given)
        write(folder / STATE, state.model_dump_json(indent=1) + "\n")
        write(folder / PAGE, board_markdown(view))
        write(folder / HTML, board_html(view))

    ready = makeable(plan, chosen)
    ends_at = time.monotonic() + 60 * within_min
    how = Making(catalogue, chosen, seed, ends_at, state, keep)
    missing = missing_of(ready, state)
    if at_once > 1:
        how.at_once(missing, asked, [entry.cell for entry in plan.entries], at_once)
    else:
        with pool_of(fresh_servers) as pool:
            how.in_turn(missing, pool)
    keep()
    say(f"table: {folder / PAGE}; page: {folder / HTML}")
    raise typer.Exit(code_of(ready, state))
