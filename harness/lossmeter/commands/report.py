"""``lossmeter report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import (
    OUT,
    JsonFile,
    check_json,
    on_stdout,
    run_folders,
    say,
    say_notes,
    show,
    shown_path,
)
from lossmeter.errors import UsageError
from lossmeter.record.files import why
from lossmeter.record.manifest import MANIFEST

if TYPE_CHECKING:
    from lossmeter.record.outcome import Outcome
    from lossmeter.record.result import Result

MATRIX = "matrix.html"


def command(
    run: Annotated[
        list[Path] | None,
        run_folders("Folders under results/runs; default: the newest."),
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
    from lossmeter.judge.again import judge_in_force, lack
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.outcome import overall
    from lossmeter.record.runs import RecordedRun, named, newest, run_folder
    from lossmeter.report.alerts import alerts_in_words
    from lossmeter.report.table import detail

    check_json(json_file)
    catalogue = Catalogue.here()
    runs = catalogue.runs
    judge = judge_in_force(catalogue)
    judged: list[tuple[Path, Result]] = []
    damaged: list[Outcome] = []
    for each in named([run_folder(runs, name) for name in run or [newest(runs)]]):
        if isinstance(each, RecordedRun):
            judged.append((each.folder, judge(each)))
        else:
            damaged.append(lack(each))
    results = [result for _, result in judged]
    show([*results, *damaged], json_file)
    say_notes(results)
    if len(results) == 1 and not on_stdout(json_file):
        OUT.print(detail(results[0]))
        for line in alerts_in_words(judged[0][0], results[0]):
            OUT.print(line, highlight=False, markup=False, soft_wrap=True)
    if page:
        _save(judged)
        for path in _pages(judged, runs):
            say(f"page: {shown_path(path)}")
    raise typer.Exit(overall([*results, *damaged]))


def _save(judged: Sequence[tuple[Path, Result]]) -> None:
    """Leave each new result in its run's folder; one that was altered keeps its own digest."""
    for folder, result in judged:
        if (folder / MANIFEST).exists() and result.manifest_sha256 is None:
            continue
        try:
            result.save(folder)
        except OSError as error:
            say(f"result.json of {folder.name} stays as it is: {why(error)}")


def _pages(judged: Sequence[tuple[Path, Result]], runs: Path) -> list[Path]:
    """Write a page for each run, and one for all of them where there are several."""
    from lossmeter.report.page import save_run_page

    pages = []
    for folder, result in judged:
        try:
            pages.append(save_run_page(folder, result))
        except Exception as error:  # noqa: BLE001 - damage to one run costs the others no page
            say(f"no page of {folder.name}: {error}")
    if len(judged) > 1:
        try:
            pages.append(_matrix(judged, runs))
        except UsageError as error:
            say(f"no page of all runs together: {error}")
    return pages


def _matrix(judged: Sequence[tuple[Path, Result]], runs: Path) -> Path:
    """Write the page of all runs together.

    Raises:
        UsageError: they do not fit together, or it cannot be written.
    """
    from lossmeter.report._templates import write
    from lossmeter.report.capacity import read_capacities
    from lossmeter.report.matrix_view import matrix_page
    from lossmeter.report.recorded import check_repeats, judged_run

    found = [judged_run(folder, result) for folder, result in judged]
    check_repeats(found)
    page = matrix_page(found, capacities=read_capacities(runs.parent))
    # Runs that a pipeline fetched lie anywhere; of several places none is theirs.
    places = {folder.parent for folder, _ in judged}
    return write((places.pop() if len(places) == 1 else runs) / MATRIX, page)
