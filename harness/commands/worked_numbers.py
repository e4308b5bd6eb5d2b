"""``harness worked-numbers``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._running import prepare, recover, run_all
from harness.commands._shared import OUT, runtime_named, say
from harness.errors import ExitCode

if TYPE_CHECKING:
    from harness.catalogue import Catalogue, Cell
    from harness.result import Result
    from harness.worked import Number, Row

SEED = 1
RUNS = 5
NAME = "worked-numbers"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(NAME)(worked_numbers)


def worked_numbers(
    repeat: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Runs for each number.")
    ] = RUNS,
    runtime: Annotated[
        str, typer.Option(metavar="auto|local|docker", help="Where servers and targets run.")
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Fixes the events sent.")] = SEED,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Take the newest N runs of each; make none.")
    ] = False,
) -> None:
    """Run what shows the worked numbers of the analysis, and write results/worked-numbers.md.

    The numbers stand in experiments/worked-numbers.toml. Exit code 1 when one of them is off
    by more than its tolerance, 7 when one that was run was never judged.
    """
    from harness.admission import check
    from harness.catalogue import Catalogue
    from harness.worked import FILE, cell_of, read_numbers

    catalogue = Catalogue.here()
    numbers = read_numbers(catalogue.root / "experiments" / FILE)
    chosen = runtime_named(runtime)
    if recorded:
        known = _newest(catalogue.runs, chosen.name)
        told = _rows(numbers, catalogue, lambda _: None, lambda cell: _of(cell, known)[:repeat])
        raise typer.Exit(_show(catalogue, told, f"harness {NAME} --recorded", chosen.name))
    found = [cell_of(number, catalogue) for number in numbers]
    ready = [each for each in found if not isinstance(each, str) and check(each, chosen) is None]
    prepare(chosen, ready)
    recover(chosen)

    def run(cell: Cell) -> Sequence[Result]:
        done: list[Result] = []
        for number in range(repeat):
            say(f"{cell.name} on {cell.target.name}: run {number + 1} of {repeat}")
            done += run_all([cell], chosen, seed, catalogue, repeat=number)
        return done

    told = _rows(numbers, catalogue, lambda cell: check(cell, chosen), run)
    options = "".join(f" {name} {value}" for name, value in _told(repeat, seed))
    raise typer.Exit(_show(catalogue, told, f"harness {NAME}{options}", chosen.name))


def _show(catalogue: Catalogue, rows: Sequence[Row], command: str, runtime: str) -> ExitCode:
    """Print the table, write the files, and return the exit code."""
    from harness.report.worked import worked_table

    OUT.print(worked_table(rows))
    _save(catalogue, rows, command, runtime)
    return _code(rows)


def _newest(runs: Path, runtime: str) -> list[Result]:
    """Return the recorded results of a runtime, the newest first; damaged ones are left out."""
    from harness.errors import UsageError
    from harness.result import Result

    found = []
    # Names begin with the time.
    for folder in sorted(runs.glob("*-*"), reverse=True):
        try:
            result = Result.load_from(folder)
        except UsageError:
            continue
        if result.runtime == runtime:
            found.append(result)
    return found


def _of(cell: Cell, results: Sequence[Result]) -> list[Result]:
    return [r for r in results if (r.experiment, r.target) == (cell.name, cell.target.name)]


def _rows(
    numbers: Sequence[Number],
    catalogue: Catalogue,
    refused: Callable[[Cell], str | None],
    run: Callable[[Cell], Sequence[Result]],
) -> list[Row]:
    """Have each cell run that a number asks for, once for all its numbers.

    Args:
        numbers: as read.
        catalogue: of experiments, targets and runs.
        refused: returns why a cell cannot be run here, or None.
        run: makes the runs of a cell.
    """
    from harness.worked import Row, cell_of

    made: dict[tuple[str, str], Sequence[Result]] = {}
    told = []
    for number in numbers:
        row = Row(number=number, unit=number.unit)
        told.append(row)
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
    return told


def _fill(row: Row, results: Sequence[Result], runs: Path) -> None:
    """Add what runs showed; those that were not judged show nothing."""
    from harness.errors import HarnessError
    from harness.judge import measured
    from harness.model import Verdict

    row.made = len(results)
    for result in results:
        if result.verdict not in {Verdict.PASS, Verdict.FAIL}:
            continue
        try:
            value = measured(runs / result.run_id, row.number.measure)
        except HarnessError:
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


def _told(repeat: int, seed: int) -> list[tuple[str, int]]:
    """Return the options that differ from their defaults."""
    given = (("--repeat", repeat, RUNS), ("--seed", seed, SEED))
    return [(name, value) for name, value, default in given if value != default]


def _save(catalogue: Catalogue, rows: Sequence[Row], command: str, runtime: str) -> None:
    from harness.environment import machine
    from harness.report.page import write
    from harness.report.worked import worked_page

    told = {"runtime": runtime, **machine()}
    folder = catalogue.root / "results"
    folder.mkdir(exist_ok=True)
    data = {
        "command": command,
        "machine": told,
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
    say(f"table: {write(folder / f'{NAME}.md', worked_page(rows, command, told))}")


def _code(rows: Sequence[Row]) -> ExitCode:
    run = [row for row in rows if not row.why_not]
    if not run:
        return ExitCode.NOTHING_JUDGED
    if any(row.within is None for row in run):
        return ExitCode.INCONCLUSIVE
    return ExitCode.OVER_BUDGET if any(not row.within for row in run) else ExitCode.WITHIN_BUDGET
