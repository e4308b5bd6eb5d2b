"""``lossmeter gate``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._gating import JunitFile, conclude, fresh, publish
from lossmeter.commands._shared import (
    JsonFile,
    RuntimeName,
    Targets,
    Variants,
    check_json,
    on_stdout,
    run_folders,
    say_notes,
    show,
)
from lossmeter.errors import UsageError

if TYPE_CHECKING:
    from lossmeter.judge.again import Judge, Wanted
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.outcome import Outcome


def command(
    run: Annotated[
        list[Path] | None,
        run_folders(
            "Folders under results/runs; default: the newest of each experiment and target."
        ),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option(
            "--experiment",
            "-e",
            metavar="NAME",
            help="Must have a run of each variant on each target; all for all. Repeatable.",
        ),
    ] = None,
    target: Targets = None,
    variant: Variants = None,
    runtime: RuntimeName = None,
    max_age_h: Annotated[
        float | None,
        typer.Option(
            min=0, max=876_000, metavar="HOURS", help="Runs begun longer ago do not count."
        ),
    ] = None,
    budgets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Judge by these budgets. Default: experiments/budgets.toml as it is now.",
        ),
    ] = None,
    junit: JunitFile = None,
    json_file: JsonFile = None,
) -> None:
    """Let a pipeline fail where saved runs cost more than their budget, or where none are.

    Judges again from disk, without running anything: by the budgets in force, and what was
    altered since it was recorded is an error. Writes JUnit XML; in GitHub Actions also
    annotations and the step's summary.

    Exit codes: 0 all within budget, 1 one over budget, 3 one failed or is damaged, 5 one
    was asked for and never run, 7 one says nothing.
    """
    from lossmeter.judge.again import judge_in_force
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.outcome import overall, results_in
    from lossmeter.record.runs import run_folder

    check_json(json_file)
    catalogue = Catalogue.here()
    file = fresh(junit or catalogue.results / "junit.xml", json_file)
    wanted = _wanted(catalogue, experiment or [], target or [], variant or [])
    wanted = wanted.but(runtime=runtime, since=_since(max_age_h))
    folders = [run_folder(catalogue.runs, name) for name in run or []]
    outcomes = _outcomes(catalogue, folders, wanted, judge_in_force(catalogue, budgets))
    show(outcomes, json_file)
    say_notes(results_in(outcomes))
    code = overall(outcomes)
    publish(outcomes, file, json_on_stdout=on_stdout(json_file))
    conclude(outcomes, code)
    raise typer.Exit(code)


def _since(max_age_h: float | None) -> datetime | None:
    if max_age_h is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(hours=max_age_h)
    except (OverflowError, ValueError):
        raise UsageError(f"--max-age-h {max_age_h:g} is no number of hours to go back") from None


def _wanted(
    catalogue: Catalogue, experiments: list[str], targets: list[str], variants: list[str]
) -> Wanted:
    from lossmeter.judge.again import Wanted
    from lossmeter.plan.catalogue import cells

    if variants and not experiments:
        raise UsageError("--variant says nothing without --experiment")
    found = [
        (cell.name, cell.target.name)
        for name in catalogue.chosen(experiments)
        for cell in cells(catalogue, catalogue.experiment(name), targets, variants)
    ]
    names = tuple(catalogue.target(name).name for name in targets)
    return Wanted(cells=tuple(found), targets=names)


def _outcomes(
    catalogue: Catalogue, folders: list[Path], wanted: Wanted, judge: Judge
) -> list[Outcome]:
    from lossmeter.judge.again import chosen, lacking, newest_of_each

    found, damaged = chosen(catalogue.runs, folders, wanted)
    if not folders:
        found = newest_of_each(found)
    results = [judge(run) for run in found]
    return [*results, *lacking(wanted, results), *damaged]
