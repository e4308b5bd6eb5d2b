"""``harness history``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.commands._shared import (
    OUT,
    JsonFile,
    RuntimeName,
    check_json,
    say,
)
from harness.errors import ExitCode


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("history")(history)


def history(
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
    from harness.catalogue import Catalogue
    from harness.history import Filter, History, trends
    from harness.report.history import history_table

    check_json(json_file)
    catalogue = Catalogue.here()
    index = History(catalogue.history_file, catalogue.runs)
    for line in index.refresh():
        say(f"left out {line}")
    entries = index.entries(Filter(experiment, target, runtime))
    if json_file is not None:
        _write(json_file, json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
    if str(json_file) != "-":
        OUT.print(history_table(trends(entries, last)) if entries else "no run is recorded")
    raise typer.Exit(ExitCode.WITHIN_BUDGET if entries else ExitCode.NOTHING_JUDGED)


def _write(file: Path, text: str) -> None:
    if str(file) == "-":
        sys.stdout.write(text)
    else:
        file.write_text(text, encoding="utf-8")
