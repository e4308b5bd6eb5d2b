"""``harness report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.commands._shared import OUT, JsonFile, newest, run_folder, say, show
from harness.errors import UsageError

MATRIX = "matrix.html"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    run: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Folders under results/runs; default: the newest."),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Write report.html into each run's folder.")
    ] = True,
    json_file: JsonFile = None,
) -> None:
    """Judge runs again from what they saved, without running anything, and draw their pages.

    Each run gets report.html in its folder: one file that a browser shows offline. Several
    runs together also get matrix.html beside their folders.
    """
    from harness.catalogue import Catalogue
    from harness.judge import judge_run
    from harness.report.alerts import alerts_told
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
        for line in alerts_told(folders[0], results[0]):
            OUT.print(line, highlight=False, markup=False, soft_wrap=True)
    if page:
        for path in _pages(folders, runs):
            say(f"page: {path}")
    raise typer.Exit(exit_code(results))


def _pages(folders: Sequence[Path], runs: Path) -> list[Path]:
    """Write a page for each run, and one for all of them where there are several."""
    from harness.report.page import matrix_page, save_run_page, write
    from harness.report.recorded import check_repeats, read_judged

    pages = [save_run_page(folder) for folder in folders]
    if len(folders) > 1:
        try:
            judged = [read_judged(folder) for folder in folders]
            check_repeats(judged)
        except UsageError as error:
            say(f"no page of all runs together: {error}")
        else:
            runs.mkdir(parents=True, exist_ok=True)
            pages.append(write(runs / MATRIX, matrix_page(judged)))
    return pages
