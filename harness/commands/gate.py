"""``harness gate``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._gating import JunitFile, conclude, fresh, publish
from harness.commands._shared import (
    JsonFile,
    RuntimeName,
    Targets,
    Variants,
    check_json,
    run_folder,
    show,
)
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.catalogue import Catalogue
    from harness.outcome import Outcome
    from harness.recorded import Wanted


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gate")(gate)


def gate(
    run: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN...",
            help="Folders under results/runs; default: the newest of each experiment and target.",
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
        typer.Option(min=0, metavar="HOURS", help="Runs begun longer ago do not count."),
    ] = None,
    budgets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Judge by these budgets. Default: those of each run."
        ),
    ] = None,
    junit: JunitFile = None,
    json_file: JsonFile = None,
) -> None:
    """Let a pipeline fail where saved runs cost more than their budget, or where none are.

    Judges again from disk, without running anything. Writes JUnit XML; in GitHub Actions
    also annotations and the step's summary.

    Exit codes: 0 all within budget, 1 one over budget, 3 one failed or is damaged, 5 one
    was asked for and never run, 7 one says nothing.
    """
    from harness.catalogue import Catalogue
    from harness.outcome import overall

    check_json(json_file)
    catalogue = Catalogue.here()
    wanted = _wanted(catalogue, experiment or [], target or [], variant or [])
    since = datetime.now(UTC) - timedelta(hours=max_age_h) if max_age_h is not None else None
    wanted = wanted.but(runtime=runtime, since=since)
    file = fresh(junit or catalogue.root / "results" / "junit.xml")
    folders = [run_folder(catalogue.runs, name) for name in run or []]
    outcomes = _outcomes(catalogue, folders, wanted, budgets)
    show(outcomes, json_file)
    publish(outcomes, file, json_on_stdout=str(json_file) == "-")
    code = overall(outcomes)
    conclude(outcomes, code)
    raise typer.Exit(code)


def _wanted(
    catalogue: Catalogue, experiments: list[str], targets: list[str], variants: list[str]
) -> Wanted:
    from harness.catalogue import cells
    from harness.recorded import Wanted

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
    catalogue: Catalogue, folders: list[Path], wanted: Wanted, budgets: Path | None
) -> list[Outcome]:
    from harness.budget import load_budgets
    from harness.facts import Facts
    from harness.recorded import judged, lacking, matching, newest_of_each

    if budgets is not None and not budgets.is_file():
        raise UsageError(f"--budgets {budgets} does not exist")
    other = None if budgets is None else load_budgets(budgets)
    damaged: list[Outcome] = []
    if folders:
        loaded = [(folder, Facts.load(folder)) for folder in dict.fromkeys(folders)]
        found = [(folder, facts) for folder, facts in loaded if wanted.takes(folder, facts)]
    else:
        found, broken = matching(catalogue.runs, wanted)
        found, damaged = newest_of_each(found), [*broken]
    results = judged(found, catalogue, other)
    return [*results, *lacking(wanted, results), *damaged]
