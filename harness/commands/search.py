"""``harness search``."""

from __future__ import annotations

import json
import secrets
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._running import prepare, recover, run_all, runnable
from harness.commands._shared import ERR, OUT, JsonFile, Targets, runtime_named
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.catalogue import Cell
    from harness.found import Report
    from harness.result import Result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search)


def search(
    experiment: Annotated[str, typer.Argument(help="Gives settings and rate of the load.")],
    target: Targets = None,
    runtime: Annotated[
        str,
        typer.Option(metavar="auto|local|docker", help="Where servers and targets run."),
    ] = "auto",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="Fixes all that is random. Default: random."),
    ] = None,
    step: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP", help="Aim at this step only. Repeatable. Default: all."),
    ] = None,
    limit_s: Annotated[
        float,
        typer.Option(min=1, max=86400, help="Seconds per target after which no run is begun."),
    ] = 900.0,
    json_file: JsonFile = None,
) -> None:
    """Find the moments at which a kill loses or duplicates events.

    Kills the target with an event accepted, enqueued, acked, dequeued, inserted and
    committed, steering by the marks that it leaves; tells which step loses; and saves the
    smallest schedule that loses under results/found/, to be run again.

    Exit codes: 0 nothing lost, 1 a step loses, 7 a step could not be hit.
    """
    from harness.catalogue import Catalogue, cells
    from harness.experiment import STEPS
    from harness.plugins import unknown
    from harness.search import Search, check
    from harness.search import search as look

    if json_file is not None and not json_file.parent.is_dir():
        raise UsageError(f"--json {json_file}: folder {json_file.parent} does not exist")
    catalogue = Catalogue.here()
    steps = step or list(STEPS)
    for name in steps:
        if name not in STEPS:
            raise UsageError(unknown("step", name, STEPS))
    asked = catalogue.experiment(experiment)
    named = {t: cells(catalogue, asked, [t], [])[0] for t in target or asked.targets}
    for cell in named.values():
        check(cell)
    chosen = runtime_named(runtime)
    ready, _ = runnable(list(named.values()), chosen)
    prepare(chosen, ready)
    seed = secrets.randbelow(2**31) if seed is None else seed
    ERR.print(f"[dim]runtime {chosen.name}, seed {seed}, {len(ready)} targets[/dim]")
    recover(chosen)
    found = catalogue.root / "results" / "found"

    def run(one: Cell, root: int, number: int) -> Result:
        return next(iter(run_all([one], chosen, root, catalogue, repeat=number)))

    reports = [
        (cell, look(Search(cell, name, seed, run, catalogue.runs, found, limit_s, steps)))
        for name, cell in named.items()
        if cell in ready
    ]
    if str(json_file) != "-":
        for cell, report in reports:
            _show(cell, report)
    if json_file is not None:
        text = json.dumps([_told(cell, report) for cell, report in reports], indent=2) + "\n"
        sys.stdout.write(text) if str(json_file) == "-" else json_file.write_text(text, "utf-8")
    raise typer.Exit(_code([report for _, report in reports]))


def _show(cell: Cell, report: Report) -> None:
    from harness.found import findings
    from harness.report.search import search_table

    OUT.print(search_table(report))
    for line in findings(report, cell.target.behaviour):
        OUT.print(f"{report.target}: {line}", highlight=False, soft_wrap=True, markup=False)
    if report.smallest is not None:
        small = report.smallest
        OUT.print(
            f"smallest schedule that loses: {small.events} events, a kill with one {small.step}, "
            f"{small.lost} lost; again: harness run {small.file} --target {report.target}",
            highlight=False,
            soft_wrap=True,
        )
    if report.unfinished:
        OUT.print(f"not finished: {report.unfinished}")


def _told(cell: Cell, report: Report) -> dict[str, object]:
    from dataclasses import asdict

    from harness.found import findings

    return {
        "target": report.target,
        "steps": [asdict(found) for found in report.steps.values()],
        "findings": list(findings(report, cell.target.behaviour)),
        "smallest": None if report.smallest is None else str(report.smallest.file),
        "unfinished": report.unfinished,
        "runs": [result.run_id for result in report.results],
    }


def _code(reports: list[Report]) -> ExitCode:
    from harness.found import instant
    from harness.model import Verdict

    if not reports:
        return ExitCode.NOTHING_JUDGED
    if any(result.verdict is Verdict.ERROR for report in reports for result in report.results):
        return ExitCode.HARNESS_ERROR
    if any(report.losing() for report in reports):
        return ExitCode.OVER_BUDGET
    open_ = [f for report in reports for f in report.steps.values() if f.runs and not f.hits]
    missed = any(not instant(found) for found in open_)
    unfinished = any(report.unfinished for report in reports)
    return ExitCode.INCONCLUSIVE if missed or unfinished else ExitCode.WITHIN_BUDGET
