"""``lossmeter board``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._making import (
    Making,
    WithinMin,
    about,
    code_of,
    makeable,
    missing_of,
)
from lossmeter.commands._running import FreshServers, Placed, pool_of, prepare
from lossmeter.commands._shared import SEED, FixedSeed, RunsOn, make_folder, runtime_named, say
from lossmeter.commands._turns import Jobs, at_once_of
from lossmeter.errors import (
    HarnessError,
    InterruptedRunError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lossmeter.commands._asked import AskedBoard
    from lossmeter.commands._side_by_side import Job
    from lossmeter.studies.board import BoardEntry, BoardPlan

    Missing = Sequence[tuple[int, BoardEntry]]


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
    how = _Making(catalogue, chosen, seed, ends_at, state, keep)
    missing = missing_of(ready, state)
    if at_once > 1:
        how.at_once(plan, missing, asked, at_once)
    else:
        with pool_of(fresh_servers) as pool:
            how.in_turn(missing, pool)
    keep()
    say(f"table: {folder / PAGE}; page: {folder / HTML}")
    raise typer.Exit(code_of(ready, state))


@dataclass(slots=True)
class _Making(Making):
    """The same, side by side where that is asked for."""

    def at_once(self, plan: BoardPlan, missing: Missing, asked: AskedBoard, at_once: int) -> None:
        """Make runs side by side, as far as the CPU has headroom."""
        from lossmeter.commands._side_by_side import SideBySide, say_alone, start_of

        jobs = self._jobs(plan, missing)
        say_alone(jobs)
        entries = {(entry.cell.name, entry.target): entry for entry in plan.entries}
        start, made = start_of(asked, self.seed, at_once), 0
        try:
            with SideBySide(start, jobs, None, ends_at=self.ends_at) as beside:
                for result in beside.runs():
                    self.add(result, entries[result.experiment, result.target])
                    made += 1
        except InterruptedRunError:
            raise
        except HarnessError as error:
            # It says nothing of the other cells, which were made all the same.
            say(f"not run: {error}")
        if made < len(jobs) and time.monotonic() >= self.ends_at:
            self.say_left(len(jobs) - made)

    def _jobs(self, plan: BoardPlan, missing: Missing) -> list[Job]:
        from lossmeter.commands._side_by_side import Job
        from lossmeter.run.admission import needs_alone

        able = self._prepared([entry for _, entry in missing])
        places = {(entry.column, entry.target): n for n, entry in enumerate(plan.entries)}
        wanted = [each for each in missing if each[1].target in able]
        return [
            Job(
                place=number,
                index=places[entry.column, entry.target],
                placed=Placed(entry.cell, self.runtime),
                why_alone=needs_alone(entry.cell, self.runtime),
                repeat=repeat,
            )
            for number, (repeat, entry) in enumerate(wanted, 1)
        ]

    def _prepared(self, entries: Sequence[BoardEntry]) -> set[str]:
        """Bring what the targets need; return the names of those that can be run."""
        able = set()
        for name, entry in {entry.target: entry for entry in entries}.items():
            try:
                prepare([Placed(entry.cell, self.runtime)])
            except (UnavailableError, UsageError) as error:
                say(f"not run: {error}")
            else:
                able.add(name)
        return able
