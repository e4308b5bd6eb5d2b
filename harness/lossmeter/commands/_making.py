"""Making the runs of cells that are kept: those that are missing, until the time is up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lossmeter.commands._running import Placed, prepare, run_all
from lossmeter.commands._shared import say
from lossmeter.errors import ExitCode, UnavailableError, UsageError
from lossmeter.model import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.result import Result
    from lossmeter.studies.standing import Entry, Plan, State
    from lossmeter.world.runtime import Runtime
    from lossmeter.world.server_pool import ServerPool

E = TypeVar("E", bound="Entry")

WithinMin = Annotated[
    float, typer.Option(min=0.0, metavar="MINUTES", help="Begin no run after this time.")
]


@dataclass(slots=True)
class Making:
    """How runs are made: where, with which events, and until when.

    Attributes:
        ends_at: when no further run is begun, monotonic seconds.
        keep: is called after each run that ``state`` has got.
    """

    catalogue: Catalogue
    runtime: Runtime
    seed: int
    ends_at: float
    state: State
    keep: Callable[[], None]

    def in_turn(self, missing: Sequence[tuple[int, Entry]], pool: ServerPool) -> None:
        """Make runs one after the other."""
        for number, (repeat, entry) in enumerate(missing):
            if time.monotonic() >= self.ends_at:
                self.say_left(len(missing) - number)
                return
            place = f"{number + 1}/{len(missing)}"
            say(f"{place} {entry.column} on {entry.target}, repeat {repeat + 1}")
            placed = [Placed(entry.cell, self.runtime)]
            try:
                prepare(placed)
                for result in run_all(placed, self.seed, self.catalogue, repeat=repeat, pool=pool):
                    self.add(result, entry)
            except UnavailableError as error:
                say(f"not run: {error}")
            except UsageError:
                # It was told already, and says nothing of the other cells.
                continue

    def add(self, result: Result, entry: Entry) -> None:
        """Keep what a run showed, with what it recorded of its surroundings."""
        from lossmeter.record.facts import Facts
        from lossmeter.report.saved import read_environment
        from lossmeter.studies.standing import Made

        made = Made.of(result, entry, result.repeat)
        folder = self.catalogue.runs / result.run_id
        made.survived = any(each.survived for each in Facts.load(folder).faults)
        recorded = read_environment(folder)
        made.commit = recorded.commit or ""
        made.servers = {name: str(value) for name, value in recorded.servers.items()}
        self.state.add(made)
        self.keep()

    def say_left(self, runs: int) -> None:
        """Say how many runs the time did not suffice for."""
        say(f"the time is up; not made: {plural(runs, 'run')}")


def about(catalogue: Catalogue, runtime: Runtime) -> dict[str, str]:
    """Return what a page says of its making: ``runtime``, ``machine`` and ``commit``."""
    from lossmeter.run.environment import commit_of, made_with

    return {
        "runtime": runtime.name,
        "machine": made_with(),
        "commit": commit_of(catalogue.project.root) or "",
    }


def makeable(plan: Plan[E], runtime: Runtime) -> Plan[E]:
    """Return the cells that the runtime can make; the others are said with their reasons."""
    from lossmeter.run.admission import check
    from lossmeter.studies.standing import Plan

    found = []
    for entry in plan.entries:
        if (why := check(entry.cell, runtime)) is not None:
            say(f"skipped {entry.column} on {entry.target}: {why}")
        else:
            found.append(entry)
    return Plan(plan.repeats, found)


def missing_of(plan: Plan[E], state: State) -> list[tuple[int, E]]:
    """Return the runs that are still to be made, and say how many."""
    from lossmeter.studies.standing import pending

    missing = pending(plan, state)
    there = len(plan.entries) * plan.repeats - len(missing)
    say(f"{plural(len(missing), 'run')} to make, {there} are there already")
    return missing


def code_of(plan: Plan[E], state: State) -> ExitCode:
    """Return 7 when runs are missing or were not judged, 5 when there is none, else 0."""
    runs = [run for entry in plan.entries for run in state.of(entry)]
    if not runs:
        return ExitCode.NOTHING_JUDGED
    whole = len(runs) >= len(plan.entries) * plan.repeats and all(run.judged for run in runs)
    return ExitCode.WITHIN_BUDGET if whole else ExitCode.INCONCLUSIVE
