"""``lossmeter durability``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._running import Placed, names_of, prepare, run_one
from lossmeter.commands._shared import (
    ERR,
    OUT,
    JsonFile,
    RunsOn,
    Seed,
    Targets,
    check_json,
    on_stdout,
    runtime_for,
    runtimes_named,
    seeded,
    write_json,
)
from lossmeter.errors import UsageError
from lossmeter.model import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lossmeter.plan.catalogue import Catalogue, Cell
    from lossmeter.record.result import Result
    from lossmeter.studies.durability import Trial
    from lossmeter.studies.worth import Worth
    from lossmeter.world.runtime import Runtime


def command(
    target: Targets = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this fault, e.g. SIGKILL. Repeatable."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help='Only this row of each target, e.g. "acks = 0". Repeatable.'
        ),
    ] = None,
    runtime: RunsOn = "auto",
    seed: Seed = None,
    save: Annotated[
        bool,
        typer.Option(
            "--save", help="Also add what was measured to the table in results/durability.md."
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure how durable the acks of each target are.

    Runs the same load under SIGKILL, stop, OOM, loss of power and SIGKILL of the broker, and
    shows what was acked and gone: in events, and in the milliseconds for which it had been
    acked. What this machine or runtime cannot do is named as not measured.
    """
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plugins import unknown
    from lossmeter.record.result import exit_code
    from lossmeter.report.durability import durability_table
    from lossmeter.studies.durability import ALL, Ran, measure, rows, trials

    check_json(json_file)
    wanted = fault or list(ALL)
    for name in wanted:
        if name not in ALL:
            raise UsageError(unknown("fault of this table", name, ALL))
    catalogue, among = Catalogue.here(), runtimes_named(runtime)
    targets = catalogue.targets(target or catalogue.target_names())
    where = {each.name: runtime_for(each, among) for each in targets}
    every = [trial for each in targets for trial in trials([each], where[each.name])]
    asked = _asked(every, wanted, setting or [])
    ready = [Placed(t.cell, where[t.cell.target.name]) for t in asked if t.why_not is None]
    prepare(ready)
    seed = seeded(seed)
    ERR.print(f"[dim]runtime {names_of(ready)}, seed {seed}, {plural(len(ready), 'run')}[/dim]")

    def run(cell: Cell) -> Ran:
        result = run_one(Placed(cell, where[cell.target.name]), seed, catalogue)
        return Ran.in_folder(result, catalogue.runs / result.run_id)

    results: list[Result] = []
    problem: UsageError | None = None
    try:
        for trial, result in measure(asked, run):
            trial.worth.made = _made(where[trial.cell.target.name], seed)
            results += [result] if result is not None else []
            if save:
                # As they come: an interrupt keeps what was measured.
                _save([trial.worth], catalogue)
    except UsageError as error:
        problem = error
    worths = rows(asked)
    if not on_stdout(json_file):
        OUT.print(durability_table(worths, wanted))
    write_json(json_file, [asdict(worth) for worth in worths])
    if problem is not None:
        raise problem
    raise typer.Exit(exit_code(results))


def _asked(every: list[Trial], faults: list[str], settings: list[str]) -> list[Trial]:
    """Return the trials of these faults and settings; of all settings where none is named."""
    from lossmeter.plugins import unknown

    known = dict.fromkeys(trial.worth.named for trial in every)
    for name in settings:
        if name not in known:
            raise UsageError(unknown("setting of this table", name, known))
    return [
        trial
        for trial in every
        if trial.fault in faults and (not settings or trial.worth.named in settings)
    ]


def _made(runtime: Runtime, seed: int) -> str:
    from lossmeter.run.environment import made_with

    return f"runtime {runtime.name}, seed {seed}; {made_with()}"


def _save(worths: Sequence[Worth], catalogue: Catalogue) -> None:
    from lossmeter.report._templates import write
    from lossmeter.report.durability import durability_page
    from lossmeter.studies import durability
    from lossmeter.studies.durability import ALL, HOW, keep
    from lossmeter.studies.pages import basis, made_now, note

    folder = catalogue.results
    folder.mkdir(parents=True, exist_ok=True)
    kept = keep(folder / "durability.json", worths)
    write(folder / "durability.md", durability_page(kept, ALL, HOW))
    # Rows of earlier measurements may be of other versions.
    now = made_now(worth.made for worth in kept)
    targets = [worth.target for worth in kept]
    note(folder, ["durability.md"], basis(catalogue, [], targets, [durability]) if now else None)
