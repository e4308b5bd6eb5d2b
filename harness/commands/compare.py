"""``harness compare``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._shared import OUT, run_folder, say
from harness.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from harness.report.recorded import JudgedRun


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders under results/runs, repeats included."),
    ],
    baseline: Annotated[
        list[Path] | None,
        typer.Option("--baseline", "-b", metavar="RUN", help="What to compare with. Repeatable."),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Also write the matrix; the suffix says how: .md .csv .parquet .html. Repeatable.",
        ),
    ] = None,
    across_seeds: Annotated[
        bool, typer.Option("--across-seeds", help="Compare even where the seeds differ.")
    ] = False,
) -> None:
    """Show runs as a matrix of experiments and targets; runs of the same are repeats.

    With a baseline each figure is marked as better, worse, or within the noise of the
    repeats. Four runs on each side are needed to tell a difference from chance.
    """
    from harness.catalogue import Catalogue
    from harness.report.backends import with_sustained
    from harness.report.capacity import read_capacities
    from harness.report.matrix import cells_frame, runs_frame
    from harness.report.matrix_table import matrix_table

    folder = Catalogue.here().runs
    check_files(out or [])
    judged, before = read_runs(folder, runs), read_runs(folder, baseline or [])
    if before:
        from harness.report.recorded import check_comparable

        check_comparable(judged, before, across_seeds=across_seeds)
    cells = cells_frame(runs_frame(judged), runs_frame(before) if before else None)
    cells = with_sustained(cells, read_capacities(folder.parent))
    for file in out or []:
        save(file, cells, judged, before)
        say(f"written: {file}")
    OUT.print(matrix_table(cells, OUT.width))


def read_runs(folder: Path, names: Sequence[Path]) -> list[JudgedRun]:
    """Return the judged runs of that name or path.

    Raises:
        UsageError: one does not exist, is damaged, or does not fit its repeats.
    """
    from harness.report.recorded import check_repeats, read_judged

    found = [read_judged(run_folder(folder, name)) for name in names]
    check_repeats(found)
    return found


def check_files(files: Sequence[Path]) -> None:
    """Make sure that each file can be written in a known way.

    Raises:
        UsageError: a suffix is not known, or a folder does not exist.
    """
    for file in files:
        if file.suffix not in _WRITERS:
            known = ", ".join(_WRITERS)
            raise UsageError(f"--out {file}: the suffix {file.suffix!r} is none of {known}")
        if not file.parent.is_dir():
            raise UsageError(f"--out {file}: folder {file.parent} does not exist")


def save(
    file: Path, cells: pd.DataFrame, runs: Sequence[JudgedRun], baseline: Sequence[JudgedRun] = ()
) -> None:
    """Write a matrix in the way that the file's suffix says.

    Raises:
        UsageError: the file cannot be written.
    """
    partial = file.with_name(f"{file.name}.tmp")
    try:
        _WRITERS[file.suffix](partial, cells, runs, baseline)
        partial.replace(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from None


def _csv(file: Path, cells: pd.DataFrame, _: Sequence[JudgedRun], __: Sequence[JudgedRun]) -> None:
    cells.to_csv(file, index=False)


def _parquet(
    file: Path, cells: pd.DataFrame, _: Sequence[JudgedRun], __: Sequence[JudgedRun]
) -> None:
    cells.to_parquet(file, index=False)


def _markdown(
    file: Path, cells: pd.DataFrame, _: Sequence[JudgedRun], __: Sequence[JudgedRun]
) -> None:
    from harness.report.matrix_markdown import matrix_markdown

    file.write_text(matrix_markdown(cells), encoding="utf-8")


def _html(
    file: Path, _: pd.DataFrame, runs: Sequence[JudgedRun], baseline: Sequence[JudgedRun]
) -> None:
    from harness.catalogue import Catalogue
    from harness.report.capacity import read_capacities
    from harness.report.matrix_page import matrix_page

    capacities = read_capacities(Catalogue.here().runs.parent)
    file.write_text(matrix_page(runs, baseline, capacities), encoding="utf-8")


_WRITERS: dict[
    str, Callable[[Path, pd.DataFrame, Sequence[JudgedRun], Sequence[JudgedRun]], None]
] = {".md": _markdown, ".csv": _csv, ".parquet": _parquet, ".html": _html}
