"""``harness report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands._shared import OUT, JsonFile, newest, run_folder, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    run: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Folders under results/runs; default: the newest."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Judge runs again from what they saved, without running anything."""
    from harness.catalogue import Catalogue
    from harness.judge import judge_run
    from harness.report.table import detail
    from harness.result import exit_code

    runs = Catalogue.here().runs
    folders = [run_folder(runs, name) for name in run or [newest(runs)]]
    results = []
    for folder in folders:
        result = judge_run(folder)
        result.save(folder)
        results.append(result)
    show(results, json_file)
    if len(results) == 1 and str(json_file) != "-":
        OUT.print(detail(results[0]))
    raise typer.Exit(exit_code(results))
