"""Making the runs of cells that are kept: those that are missing, until the time is up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lossmeter.commands._running import Placed, prepare, run_all
from lossmeter.commands._shared import say
from lossmeter.errors import ExitCode, HarnessError, InterruptedRunError
from lossmeter.model import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lossmeter.commands._asked import AskedBoard, AskedResults
    from lossmeter.commands._side_by_side import Job
    from lossmeter.plan.catalogue import Catalogue, Cell
    from lossmeter.plan.remedies import Place
    from lossmeter.record.result import Result
    from lossmeter.studies.standing import Entry, Plan, State
    from lossmeter.world.runtime import Runtime
    from lossmeter.world.server_pool import ServerPool

    Missing = Sequence[tuple[int, Entry]]

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
        failed: why a cell could not be run, by the names of experiment and target.
    """

    catalogue: Catalogue
    runtime: Runtime
    seed: int
    ends_at: float
    state: State
    keep: Callable[[], None]
    failed: dict[Place, str] = field(default_factory=dict)

    def in_turn(self, missing: Missing, pool: ServerPool) -> None:
        """Make runs one after the other."""
        for number, (repeat, entry) in enumerate(missing):
            if time.monotonic() >= self.ends_at:
                self.say_left(len(missing) - number)
                return
            if _place(entry) in self.failed and not self.state.of(entry):
                # What kept its first run from being begun would keep the next as well.
                continue
            place = f"{number + 1}/{len(missing)}"
            say(f"{place} {entry.column} on {entry.target}, repeat {repeat + 1}")
            if not self._prepared([entry]):
                continue
            if (result := self._run(entry, repeat, pool)) is not None:
                self.add(result, entry)

    def _run(self, entry: Entry, repeat: int, pool: ServerPool) -> Result | None:
        """Make one run; return None where it could not be begun."""
        placed = [Placed(entry.cell, self.runtime)]
        try:
            runs = run_all(placed, self.seed, self.catalogue, repeat=repeat, pool=pool)
            return next(iter(runs), None)
        except InterruptedRunError:
            raise
        except HarnessError as error:
            # It was told already, and says nothing of the other cells.
            self.failed[_place(entry)] = str(error)
            return None

    def at_once(
        self,
        missing: Missing,
        asked: AskedBoard | AskedResults,
        cells: Sequence[Cell],
        at_once: int,
    ) -> None:
        """Make runs side by side, as far as the CPU has headroom.

        Args:
            missing: the runs.
            asked: what was typed.
            cells: those that this stands for, in its order.
            at_once: how many runs at most.
        """
        from lossmeter.commands._side_by_side import SideBySide, say_alone, start_of

        jobs = self._jobs(missing, cells)
        say_alone(jobs)
        entries, made = {_place(entry): entry for _, entry in missing}, 0
        start = start_of(asked, self.seed, at_once)
        with SideBySide(start, jobs, None, ends_at=self.ends_at) as beside:
            runs = beside.runs()
            while (result := _next(runs)) is not None:
                self.add(result, entries[result.experiment, result.target])
                made += 1
        for index, problem in beside.problems:
            cell = cells[index]
            self.failed[cell.name, cell.target.name] = str(problem)
        if made < len(jobs) and time.monotonic() >= self.ends_at:
            self.say_left(len(jobs) - made)

    def why_alone(self, entry: Entry) -> str | None:
        """Return why nothing may run beside a cell, or None."""
        from lossmeter.run.admission import needs_alone

        return needs_alone(entry.cell, self.runtime)

    def _jobs(self, missing: Missing, cells: Sequence[Cell]) -> list[Job]:
        from lossmeter.commands._side_by_side import Job

        able = self._prepared([entry for _, entry in missing])
        places = {(cell.name, cell.target.name): index for index, cell in enumerate(cells)}
        return [
            Job(
                place=number,
                index=places[_place(entry)],
                placed=Placed(entry.cell, self.runtime),
                why_alone=self.why_alone(entry),
                repeat=repeat,
            )
            for number, (repeat, entry) in enumerate(
                (each for each in missing if each[1].target in able), 1
            )
        ]

    def _prepared(self, entries: Sequence[Entry]) -> set[str]:
        """Bring what the targets need; return the names of those that can be run."""
        able = set()
        for name in dict.fromkeys(entry.target for entry in entries):
            own = [entry for entry in entries if entry.target == name]
            try:
                prepare([Placed(entry.cell, self.runtime) for entry in own])
            except InterruptedRunError:
                raise
            except HarnessError as error:
                say(f"not run: {error}")
                self.failed |= {_place(entry): str(error) for entry in own}
            else:
                able.add(name)
        return able

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


def _next(runs: Iterator[Result]) -> Result | None:
    """Return the next run; None when there are no more, whatever kept some from being made."""
    try:
        return next(runs, None)
    except InterruptedRunError:
        raise
    except HarnessError as error:
        # It says nothing of the other cells, which were made all the same.
        say(f"not run: {error}")
        return None


def _place(entry: Entry) -> Place:
    """Return the names of experiment and target, as a run carries them."""
    return entry.cell.name, entry.target


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
    every = [run for entry in plan.entries for run in state.of(entry)]
    # Repeats beyond those of the plan make up for none that another cell lacks.
    runs = [run for run in every if run.repeat < plan.repeats]
    if not runs:
        return ExitCode.NOTHING_JUDGED
    whole = len(runs) >= len(plan.entries) * plan.repeats and all(run.judged for run in runs)
    return ExitCode.WITHIN_BUDGET if whole else ExitCode.INCONCLUSIVE
