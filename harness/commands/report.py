"""``harness report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.commands._shared import OUT, JsonFile, newest, run_folder, say, show, shown_path
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
            say(f"page: {shown_path(path)}")
    raise typer.Exit(exit_code(results))


def _pages(folders: Sequence[Path], runs: Path) -> list[Path]:
    """Write a page for each run, and one for all of them where there are several."""
    from harness.report.page import save_run_page

    pages = [save_run_page(folder) for folder in folders]
    if len(folders) > 1:
        try:
            pages.append(_matrix(folders, runs))
        except UsageError as error:
            say(f"no page of all runs together: {error}")
    return pages


def _matrix(folders: Sequence[Path], runs: Path) -> Path:
    """Write the page of all runs together.

    Raises:
        UsageError: they do not fit together, or it cannot be written.
    """
    from harness.report.capacity import read_capacities
    from harness.report.matrix_page import matrix_page
    from harness.report.page import write
    from harness.report.recorded import check_repeats, read_judged

    judged = [read_judged(folder) for folder in folders]
    check_repeats(judged)
    page = matrix_page(judged, capacities=read_capacities(runs.parent))
    runs.mkdir(parents=True, exist_ok=True)
    return write(runs / MATRIX, page)
