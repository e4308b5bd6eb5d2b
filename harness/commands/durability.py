"""``harness durability``."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._running import prepare, recover, run_all
from harness.commands._shared import ERR, OUT, JsonFile, Targets, runtime_named
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.catalogue import Catalogue, Cell
    from harness.durability import Trial
    from harness.report.durability import Worth
    from harness.result import Result
    from harness.runtime import Runtime


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("durability")(durability)


def durability(
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
    runtime: Annotated[
        str,
        typer.Option(metavar="auto|local|docker", help="Where servers and targets run."),
    ] = "auto",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="Fixes all that is random. Default: random."),
    ] = None,
    save: Annotated[
        bool,
        typer.Option(
            "--save", help="Also add what was measured to the table in results/durability.md."
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure what a yes of each target is worth.

    Runs the same load under SIGKILL, stop, OOM, loss of power and SIGKILL of the broker, and
    shows what was acked and gone: in events, and in the milliseconds for which it had been
    acked. What this machine or runtime cannot do is named as not measured.
    """
    from harness.catalogue import Catalogue
    from harness.durability import ALL, measure, rows, trials
    from harness.plugins import unknown
    from harness.report.durability import durability_table
    from harness.result import exit_code

    if json_file is not None and not json_file.parent.is_dir():
        raise UsageError(f"--json {json_file}: folder {json_file.parent} does not exist")
    wanted = fault or list(ALL)
    for name in wanted:
        if name not in ALL:
            raise UsageError(unknown("fault of this table", name, ALL))
    catalogue, chosen = Catalogue.here(), runtime_named(runtime)
    targets = [catalogue.target(name) for name in target or catalogue.target_names()]
    asked = _asked(trials(targets, chosen), wanted, setting or [])
    ready = [trial.cell for trial in asked if trial.why_not is None]
    prepare(chosen, ready)
    seed = secrets.randbelow(2**31) if seed is None else seed
    ERR.print(f"[dim]runtime {chosen.name}, seed {seed}, {len(ready)} runs[/dim]")
    recover(chosen)

    def run(cell: Cell) -> Result:
        return next(iter(run_all([cell], chosen, seed, catalogue)))

    made, results = _made(chosen, seed), []
    for trial, result in measure(asked, run):
        trial.worth.made = made
        results += [result] if result is not None else []
        if save:
            # As they come: whoever interrupts this keeps what was measured.
            _save([trial.worth], catalogue)
    worths = rows(asked)
    if str(json_file) != "-":
        OUT.print(durability_table(worths, wanted))
    if json_file is not None:
        text = json.dumps([asdict(worth) for worth in worths], indent=2) + "\n"
        sys.stdout.write(text) if str(json_file) == "-" else json_file.write_text(text, "utf-8")
    raise typer.Exit(exit_code(results))


def _asked(every: list[Trial], faults: list[str], settings: list[str]) -> list[Trial]:
    """Return the trials of these faults and settings; of all settings where none is named."""
    from harness.plugins import unknown

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
    from harness.environment import machine

    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine().items())
    return f"runtime {runtime.name}, seed {seed}; {told}"


def _save(worths: Sequence[Worth], catalogue: Catalogue) -> None:
    from harness.durability import ALL, HOW, keep
    from harness.report.durability import durability_page

    folder = catalogue.root / "results"
    folder.mkdir(exist_ok=True)
    kept = keep(folder / "durability.json", worths)
    (folder / "durability.md").write_text(durability_page(kept, ALL, HOW), encoding="utf-8")
