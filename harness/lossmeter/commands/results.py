"""``lossmeter results``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._making import WithinMin
from lossmeter.commands._running import FreshServers
from lossmeter.commands._shared import (
    OUT,
    SEED,
    FixedSeed,
    RunsOn,
    Targets,
    make_folder,
    run_folders,
    runtime_named,
    say,
    say_notes,
)
from lossmeter.commands._turns import Jobs, at_once_of
from lossmeter.commands.compare import save
from lossmeter.errors import ExitCode, HarnessError, UsageError
from lossmeter.model import plural

if TYPE_CHECKING:
    from lossmeter.commands._sweep import Asked
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plan.refusal import Refusal
    from lossmeter.plan.remedies import Place
    from lossmeter.report.recorded import JudgedRun
    from lossmeter.report.reference import Making
    from lossmeter.studies.pages import Basis
    from lossmeter.studies.reference import Planned

REPEAT = 3
WITHIN_MIN = 360.0
PAGE, FILES = "README.md", ("matrix.csv", "matrix.parquet", "matrix.html")


def command(
    run: Annotated[
        list[Path] | None,
        run_folders("Folders of runs to take; without any, the runs are made."),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option("--experiment", "-e", metavar="NAME", help="Only these. Repeatable."),
    ] = None,
    target: Targets = None,
    runtime: RunsOn = "auto",
    seed: FixedSeed = SEED,
    repeat: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Runs of each cell.")
    ] = REPEAT,
    within_min: WithinMin = WITHIN_MIN,
    fresh_servers: FreshServers = False,
    jobs: Jobs = "1",
    again: Annotated[
        bool,
        typer.Option("--again", help="Make all runs again, also those that stand already."),
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the tables go instead of results/."),
    ] = None,
    stale: Annotated[
        bool,
        typer.Option("--stale", help="Make nothing; list pages older than what they speak of."),
    ] = False,
) -> None:
    """Write the reference tables: README.md, and the matrix as CSV, Parquet and HTML.

    Makes runs of every experiment on every backend, and of the remedies where their experiments
    list them, each once before any twice; or takes runs that exist. Runs that were judged already,
    of the same experiment, target, code, seed and runtime, are not made again: what was
    interrupted goes on where it was. With --within-min 0 none is made, and the tables are written
    from these. What a target that is not of the shipped dispatcher starts is not looked at; after
    a change of it --again makes all anew. With --jobs, what the page shows throughput or p99 of
    has the machine alone. What cannot be run, or was not since the time was up, says so in its
    cell. Exit code 7 when runs are missing or were not judged, else 0. With --stale it is 1 when a
    page is older than the experiments or targets of its numbers.
    """
    from lossmeter.plan.catalogue import ALL, Catalogue

    catalogue = Catalogue.here()
    if stale:
        raise typer.Exit(_show_age(catalogue, to or catalogue.results))
    from lossmeter.plugins import need

    need("pandas", "scipy", "pyarrow")
    if run and (experiment or target):
        raise UsageError("runs that are named are taken as they are; leave out what selects others")
    to = to or catalogue.results
    make_folder("--to", to)
    if run:
        _take(catalogue, run, to)
        return
    from lossmeter.commands._sweep import Asked
    from lossmeter.report.capacity import EQUAL_RATES

    at_once, chosen = at_once_of(jobs, runtime), runtime_named(runtime)
    asked = Asked(
        catalogue=catalogue,
        experiments=_ordered(catalogue.chosen(experiment or [ALL, EQUAL_RATES])),
        targets=target or [],
        runtime=chosen,
        seed=seed,
        repeat=repeat,
        within_s=60 * within_min,
        fresh_servers=fresh_servers,
        at_once=at_once,
        again=again,
        folder=to,
    )
    _make(asked, _command(asked, experiment or []))


def _make(asked: Asked, words: str) -> None:
    """Make the runs, and write the tables of what there is, whatever ended that."""
    from lossmeter.commands._sweep import sweep
    from lossmeter.report.reference import Making
    from lossmeter.studies.reference import planned

    catalogue = asked.catalogue
    plan = planned(catalogue, asked.experiments, asked.targets, asked.runtime)
    on = _basis(catalogue, plan)
    made = sweep(asked, plan)
    code = made.code
    if made.every:
        making = Making(words, missing=made.missing, absent=made.absent)
        runs = _write(catalogue, made.every, making, asked.folder, on)
        # By the budgets of now a run may say less than it did.
        if not all(run.judged for run in runs):
            code = ExitCode.INCONCLUSIVE
    if made.ended_by is not None:
        raise made.ended_by
    if not made.every:
        say("nothing was judged")
    if code:
        raise typer.Exit(code)


def _command(asked: Asked, experiments: Sequence[str]) -> str:
    """Return the command that makes the same runs."""
    words = ["lossmeter results"]
    words += [f"--experiment {name}" for name in experiments]
    words += [f"--target {name}" for name in asked.targets]
    words += [f"--runtime {asked.runtime.name} --seed {asked.seed} --repeat {asked.repeat}"]
    return " ".join([*words, *(["--fresh-servers"] if asked.fresh_servers else [])])


def _ordered(experiments: Sequence[str]) -> list[str]:
    """Return the rates first, since the advice rests on them."""
    from lossmeter.report.capacity import RATES

    return sorted(experiments, key=lambda name: name != RATES)


def _basis(catalogue: Catalogue, plan: Sequence[Planned]) -> Basis:
    """Return what the tables rest on, before the runs: code may change while they are made."""
    from lossmeter.studies.pages import basis

    experiments = [each.cell.experiment.name for each in plan]
    return basis(catalogue, experiments, [each.cell.target.name for each in plan])


def _take(catalogue: Catalogue, runs: Sequence[Path], to: Path) -> None:
    """Write the tables of runs that exist."""
    from lossmeter.record.runs import run_folder
    from lossmeter.report.reference import Making

    folders = [run_folder(catalogue.runs, name) for name in runs]
    _write(catalogue, folders, Making("lossmeter results"), to, None)


def _write(
    catalogue: Catalogue, folders: Sequence[Path], making: Making, to: Path, on: Basis | None
) -> Sequence[JudgedRun]:
    """Write all tables and return their runs; ``on`` is None for runs that were named."""
    from lossmeter.judge.again import judge_in_force
    from lossmeter.plan.remedies import remedies
    from lossmeter.report._templates import write
    from lossmeter.report.backends import with_sustained
    from lossmeter.report.capacity import read_capacities
    from lossmeter.report.dense import Layout
    from lossmeter.report.matrix import cells_frame, runs_frame
    from lossmeter.report.recorded import check_repeats, judged_runs
    from lossmeter.report.reference import reference
    from lossmeter.studies.pages import note

    runs = judged_runs(folders, judge_in_force(catalogue))
    say_notes([run.result for run in runs])
    check_repeats(runs)
    if on is None:
        absent = _unasked(catalogue, runs)
        lines = [f"{name} on {target}: {why.why}" for (name, target), why in absent.items()]
        making = replace(making, absent=absent, missing=lines)
    else:
        took_s = sum(run.result.timings_s.get("total", 0.0) for run in runs)
        making = replace(making, took_s=took_s)
        say(f"{plural(len(runs), 'run')} that took {took_s:.0f} s together")
    places = dict.fromkeys([*(run.cell[:2] for run in runs), *making.absent])
    layout = Layout.dense(making.absent, remedies(catalogue, places))
    capacities = read_capacities(catalogue.results)
    cells = with_sustained(cells_frame(runs_frame(runs)), capacities)
    for name in FILES:
        save(to / name, cells, runs, layout=layout)
    path = write(to / PAGE, reference(runs, cells, capacities, making, layout))
    note(to, [PAGE, *FILES], on or _basis_of(catalogue, runs))
    say(f"written: {path}, {', '.join(FILES)}")
    return runs


def _unasked(catalogue: Catalogue, runs: Sequence[JudgedRun]) -> dict[Place, Refusal]:
    """Return why the experiments of runs that exist have none on other backends."""
    from lossmeter.plan.refusal import Refusal
    from lossmeter.studies.reference import planned

    runtimes = {run.result.runtime for run in runs}
    known, have = catalogue.variants(), {run.cell[:2] for run in runs}
    names = dict.fromkeys(known[name][0].name for name, _ in have if name in known)
    if len(runtimes) != 1:
        return {}
    try:
        plan = planned(catalogue, list(names), [], runtime_named(runtimes.pop()))
    except HarnessError as error:
        say(f"not known why cells have no run: {error}")
        return {}
    lacking = [each for each in plan if each.place not in have]
    unnamed = Refusal("not measured", "no run of it is among those that were named")
    return {each.place: each.refusal or unnamed for each in lacking}


def _basis_of(catalogue: Catalogue, runs: Sequence[JudgedRun]) -> Basis | None:
    """Return what runs that exist rest on; None where they were not made by the code of now."""
    from lossmeter.studies.pages import basis, made_now

    if not made_now(run.environment.commit or "" for run in runs):
        return None
    names = {name for run in runs for name in run.cell[:1]}
    return basis(catalogue, names, {run.result.target for run in runs})


def _show_age(catalogue: Catalogue, folder: Path) -> ExitCode:
    """List pages by whether they are older than what they speak of."""
    from lossmeter.commands._shared import shown_path
    from lossmeter.studies.pages import age

    found = age(catalogue, folder)
    kinds = {"current": found.current, "stale": found.stale, "no digest": found.unknown}
    for kind, pages in kinds.items():
        for page in pages:
            OUT.print(f"{kind:<9}  {shown_path(page)}", markup=False, highlight=False)
    return ExitCode.OVER_BUDGET if found.stale else ExitCode.WITHIN_BUDGET
