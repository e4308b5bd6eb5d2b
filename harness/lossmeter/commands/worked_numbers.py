"""``lossmeter worked-numbers``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._running import Placed, prepare, run_one
from lossmeter.commands._shared import OUT, SEED, FixedSeed, RunsOn, runtime_named, say
from lossmeter.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Catalogue, Cell
    from lossmeter.record.result import Result
    from lossmeter.studies.pages import Basis
    from lossmeter.studies.worked import Number, Row

RUNS = 5
NAME = "worked-numbers"


def command(
    repeat: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Runs for each number.")
    ] = RUNS,
    runtime: RunsOn = "auto",
    seed: FixedSeed = SEED,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Take the newest N runs of each; make none.")
    ] = False,
) -> None:
    """Run what shows the worked numbers of the analysis, and write results/worked-numbers.md.

    The numbers stand in experiments/worked-numbers.toml. Exit code 1 when one of them is off
    by more than its tolerance, 7 when one that was run was never judged.
    """
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.run.admission import check
    from lossmeter.studies.worked import FILE, cell_of, read_numbers

    catalogue = Catalogue.here()
    numbers = read_numbers(catalogue.file("experiments", FILE))
    chosen = runtime_named(runtime)
    if recorded:
        known = _newest(catalogue, chosen.name)
        reported = _rows(numbers, catalogue, lambda _: None, lambda cell: _of(cell, known)[:repeat])
        raise typer.Exit(_show(catalogue, reported, f"lossmeter {NAME} --recorded", chosen.name))
    found = [cell_of(number, catalogue) for number in numbers]
    ready = [each for each in found if not isinstance(each, str) and check(each, chosen) is None]
    prepare([Placed(cell, chosen) for cell in ready])

    problems: list[UsageError] = []

    def run(cell: Cell) -> Sequence[Result]:
        done: list[Result] = []
        for number in range(repeat):
            say(f"{cell.name} on {cell.target.name}: run {number + 1} of {repeat}")
            try:
                done.append(run_one(Placed(cell, chosen), seed, catalogue, repeat=number))
            except UsageError as error:
                # It says nothing of the other cells.
                problems.append(error)
        return done

    reported = _rows(numbers, catalogue, lambda cell: check(cell, chosen), run)
    options = "".join(f" {name} {value}" for name, value in _described(repeat, seed))
    code = _show(catalogue, reported, f"lossmeter {NAME}{options}", chosen.name)
    if problems:
        raise problems[0]
    raise typer.Exit(code)


def _show(catalogue: Catalogue, rows: Sequence[Row], command: str, runtime: str) -> ExitCode:
    """Print the table, write the files, and return the exit code."""
    from lossmeter.report.worked import worked_table

    OUT.print(worked_table(rows))
    _save(catalogue, rows, command, runtime)
    return _code(rows)


def _newest(catalogue: Catalogue, runtime: str) -> list[Result]:
    """Return the recorded results of a runtime, the newest first; damaged ones are left out."""
    from lossmeter.judge.again import Wanted, judge_in_force, matching

    judge = judge_in_force(catalogue)
    found, _ = matching(catalogue.runs, Wanted(runtime=runtime))
    return [judge(run) for run in reversed(found)]


def _of(cell: Cell, results: Sequence[Result]) -> list[Result]:
    return [r for r in results if (r.experiment, r.target) == (cell.name, cell.target.name)]


def _rows(
    numbers: Sequence[Number],
    catalogue: Catalogue,
    refused: Callable[[Cell], str | None],
    run: Callable[[Cell], Sequence[Result]],
) -> list[Row]:
    """Have each cell run that a number asks for, once for all its numbers."""
    from lossmeter.studies.worked import Row, cell_of

    made: dict[tuple[str, str], Sequence[Result]] = {}
    reported = []
    for number in numbers:
        row = Row(number=number, unit=number.unit)
        reported.append(row)
        cell = cell_of(number, catalogue)
        if isinstance(cell, str):
            row.why_not = cell
            continue
        row.why_not = refused(cell) or ""
        if row.why_not:
            continue
        key = (cell.name, cell.target.name)
        if key not in made:
            made[key] = run(cell)
        if not made[key]:
            row.why_not = "no run of it is recorded"
        _fill(row, made[key], catalogue.runs)
    return reported


def _fill(row: Row, results: Sequence[Result], runs: Path) -> None:
    """Add what runs showed; those that were not judged show nothing."""
    from lossmeter.errors import HarnessError
    from lossmeter.judge.verdict import measured

    row.made = len(results)
    for result in results:
        if not result.verdict.judged:
            continue
        try:
            value = measured(runs / result.run_id, row.number.measure)
        except (HarnessError, OSError, ValueError):
            # A missing or damaged file of a run; what it would show is not known.
            value = None
        if value is None:
            continue
        row.measured.append(round(value, 4))
        row.runs.append(result.run_id)
        predicted = _predicted(result, row.number.measure)
        if predicted is not None:
            row.predicted.append(round(predicted, 4))


def _predicted(result: Result, measure: str) -> float | None:
    if measure == "lost":
        lost = result.predicted.lost if result.predicted else None
        return None if lost is None else float(lost)
    found = [each.predicted for each in result.comparisons if each.name == measure]
    return found[0] if found else None


def _described(repeat: int, seed: int) -> list[tuple[str, int]]:
    """Return the options that differ from their defaults."""
    given = (("--repeat", repeat, RUNS), ("--seed", seed, SEED))
    return [(name, value) for name, value, default in given if value != default]


def _save(catalogue: Catalogue, rows: Sequence[Row], command: str, runtime: str) -> None:
    from lossmeter.report._templates import write
    from lossmeter.report.worked import worked_page
    from lossmeter.run.environment import commit, machine
    from lossmeter.studies.pages import note

    reported = {"runtime": runtime, **machine(), "commit": commit() or "unknown"}
    folder = catalogue.results
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "command": command,
        "machine": reported,
        "numbers": [
            {
                **row.model_dump(mode="json"),
                "median": row.median,
                "difference": row.difference,
                "within": row.within,
            }
            for row in rows
        ],
    }
    write(folder / f"{NAME}.json", json.dumps(data, indent=2) + "\n")
    say(f"table: {write(folder / f'{NAME}.md', worked_page(rows, command, reported))}")
    # Runs that were there already may be of any version.
    note(folder, [f"{NAME}.md"], None if "--recorded" in command else _basis(catalogue, rows))


def _basis(catalogue: Catalogue, rows: Sequence[Row]) -> Basis:
    from lossmeter.studies import worked
    from lossmeter.studies.pages import basis

    experiments = [row.number.experiment for row in rows]
    return basis(catalogue, experiments, [row.number.target for row in rows], [worked])


def _code(rows: Sequence[Row]) -> ExitCode:
    run = [row for row in rows if not row.why_not]
    if not run:
        return ExitCode.NOTHING_JUDGED
    if any(row.within is None for row in run):
        return ExitCode.INCONCLUSIVE
    return ExitCode.OVER_BUDGET if any(not row.within for row in run) else ExitCode.WITHIN_BUDGET
