"""``harness results``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._running import FreshServers, prepare, recover, run_all, shelf_of
from harness.commands._shared import Targets, run_folder, runtime_named, say
from harness.commands.compare import save
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.catalogue import Catalogue, Cell
    from harness.report.reference import Making
    from harness.runtime import Runtime

# What a run takes besides its load: starting, settling, collecting, stopping.
AROUND_S = 12.0
CRASH = "crash"
FILES = ("matrix.csv", "matrix.parquet", "matrix.html")
SEED = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("results")(results)


def results(
    run: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN...", help="Folders of runs to take; without any, the runs are made."
        ),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option("--experiment", "-e", metavar="NAME", help="Only these. Repeatable."),
    ] = None,
    target: Targets = None,
    runtime: Annotated[
        str,
        typer.Option(metavar="auto|local|docker|kubernetes", help="Where servers and targets run."),
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Fixes the events sent.")] = SEED,
    within_min: Annotated[
        float, typer.Option(min=0.1, metavar="MINUTES", help="Begin no run after this time.")
    ] = 60.0,
    fresh_servers: FreshServers = False,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the tables go instead of results/."),
    ] = None,
) -> None:
    """Write the reference tables: README.md, and the matrix as CSV, Parquet and HTML.

    Makes a run of every experiment on each of its targets, as `harness run all` does, or takes
    runs that exist. What is not run, since the time is up or the runtime cannot, is named in
    the page.
    """
    from harness.catalogue import ALL, Catalogue
    from harness.report.reference import Making

    if run and (experiment or target):
        raise UsageError("runs that are named are taken as they are; leave out what selects others")
    catalogue = Catalogue.here()
    to = to or catalogue.runs.parent
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--to {to} cannot be a folder: {error.strerror}") from None
    if run:
        folders = [run_folder(catalogue.runs, name) for name in run]
        _write(catalogue, folders, Making("harness results"), to)
        return
    begin = time.monotonic()
    ask = _Ask(catalogue, runtime_named(runtime), seed, 60 * within_min, fresh_servers)
    cells = _cells(catalogue, catalogue.chosen(experiment or [ALL]), target or [])
    folders, missing = _make(ask, cells)
    if not folders:
        say("nothing was judged")
        raise typer.Exit(ExitCode.NOTHING_JUDGED)
    took_s = time.monotonic() - begin
    command = " ".join(
        [
            "harness results",
            *(f"--experiment {name}" for name in experiment or []),
            *(f"--target {name}" for name in target or []),
            f"--runtime {ask.runtime.name} --seed {seed}",
            *(["--fresh-servers"] if fresh_servers else []),
        ]
    )
    _write(catalogue, folders, Making(command, took_s, missing), to)
    say(f"{len(folders)} runs in {took_s:.0f} s")


@dataclass(frozen=True, slots=True)
class _Ask:
    catalogue: Catalogue
    runtime: Runtime
    seed: int
    within_s: float
    fresh_servers: bool


def _cells(catalogue: Catalogue, experiments: Sequence[str], targets: Sequence[str]) -> list[Cell]:
    """Return the cells; those of the rates first, since the advice rests on them.

    Who is asked for rates is killed too: what a target loses decides what is advised.
    """
    from harness.catalogue import cells
    from harness.report.capacity import RATES

    ordered = sorted(experiments, key=lambda name: name != RATES)
    asked = [
        cell
        for name in ordered
        for cell in cells(catalogue, catalogue.experiment(name), targets, [])
    ]
    if CRASH in experiments and RATES in experiments and not targets:
        crash = catalogue.experiment(CRASH)
        spared = [t for t in catalogue.experiment(RATES).targets if t not in crash.targets]
        # Without targets, cells would be those of the experiment's own list once more.
        if spared:
            asked += cells(catalogue, crash, spared, [])
    return asked


def _make(ask: _Ask, cells: Sequence[Cell]) -> tuple[list[Path], list[str]]:
    """Run the cells while there is time; return the folders, and what has no run and why."""
    from harness.admission import check

    whys = [check(cell, ask.runtime) for cell in cells]
    missing = [
        f"{_named(cell)}: {why}" for cell, why in zip(cells, whys, strict=True) if why is not None
    ]
    ready = [cell for cell, why in zip(cells, whys, strict=True) if why is None]
    expected_s = sum(cell.variant.load.duration_s + AROUND_S for cell in ready)
    say(
        f"runtime {ask.runtime.name}, seed {ask.seed}: {len(ready)} runs, about "
        f"{expected_s / 60:.0f} min; none begins after {ask.within_s / 60:g} min"
    )
    if not ready:
        return [], missing
    prepare(ask.runtime, ready)
    recover(ask.runtime)
    begin = time.monotonic()
    folders: list[Path] = []
    with shelf_of(ask.fresh_servers) as shelf:
        made = run_all(ready, ask.runtime, ask.seed, ask.catalogue, shelf=shelf)
        for number in range(len(ready)):
            if time.monotonic() - begin > ask.within_s:
                missing += [f"{_named(rest)}: the time was up" for rest in ready[number:]]
                say(f"the time is up; {len(ready) - number} runs are not made")
                break
            folders.append(ask.catalogue.runs / next(made).run_id)
    return folders, missing


def _named(cell: Cell) -> str:
    return f"{cell.name} on {cell.target.name}"


def _write(catalogue: Catalogue, folders: Sequence[Path], making: Making, to: Path) -> None:
    from harness.report.backends import with_sustained
    from harness.report.capacity import read_capacities
    from harness.report.matrix import cells_frame, runs_frame
    from harness.report.page import write
    from harness.report.recorded import check_repeats, read_judged
    from harness.report.reference import reference

    runs = [read_judged(folder) for folder in folders]
    check_repeats(runs)
    capacities = read_capacities(catalogue.runs.parent)
    cells = with_sustained(cells_frame(runs_frame(runs)), capacities)
    for name in FILES:
        save(to / name, cells, runs)
    path = write(to / "README.md", reference(runs, cells, capacities, making))
    say(f"written: {path}, {', '.join(FILES)}")
