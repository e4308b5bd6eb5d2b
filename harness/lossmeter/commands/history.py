"""``lossmeter history``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lossmeter.commands._shared import (
    OUT,
    JsonFile,
    RuntimeName,
    check_json,
    on_stdout,
    say,
    write_json,
)
from lossmeter.errors import ExitCode


def command(
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", metavar="NAME", help="Only this one.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="NAME", help="Only this one.")
    ] = None,
    runtime: RuntimeName = None,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each at most.")] = 20,
    json_file: JsonFile = None,
) -> None:
    """Show how loss, recovery and throughput went from run to run.

    Reads results/history.sqlite, an index that is brought up to the run folders first.
    Runs that say nothing have a dot in the curves.
    """
    from lossmeter.judge.again import judge_in_force
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.index import Filter, History, trends
    from lossmeter.report.history import history_table

    check_json(json_file)
    catalogue = Catalogue.here()
    judge = judge_in_force(catalogue)
    index = History(catalogue.history_file, catalogue.runs, judge, judge.budgets)
    for line in index.refresh():
        say(f"damaged: {line}")
    entries = index.entries(Filter(experiment, target, runtime))
    write_json(json_file, [asdict(entry) for entry in entries])
    if not on_stdout(json_file):
        OUT.print(history_table(trends(entries, last)) if entries else "no run is recorded")
    raise typer.Exit(ExitCode.WITHIN_BUDGET if entries else ExitCode.NOTHING_JUDGED)
