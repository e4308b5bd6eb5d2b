"""``lossmeter compare``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import OUT, check_writable, run_folders, say, say_notes
from lossmeter.errors import UsageError
from lossmeter.record.files import why, write_bytes

if TYPE_CHECKING:
    import pandas as pd

    from lossmeter.judge.again import Judge
    from lossmeter.report.dense import Layout
    from lossmeter.report.recorded import JudgedRun


def command(
    runs: Annotated[
        list[Path],
        run_folders("Folders under results/runs, repeats included."),
    ],
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            "--baseline",
            "-b",
            readable=False,
            metavar="RUN",
            help="What to compare with. Repeatable.",
        ),
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
    from lossmeter.judge.again import judge_in_force
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plugins import need

    parquet = any(file.suffix == ".parquet" for file in out or [])
    need("pandas", "scipy", *(["pyarrow"] if parquet else []))
    from lossmeter.report.backends import with_sustained
    from lossmeter.report.capacity import read_capacities
    from lossmeter.report.matrix import cells_frame, runs_frame
    from lossmeter.report.matrix_table import matrix_table

    catalogue = Catalogue.here()
    folder, judge = catalogue.runs, judge_in_force(catalogue)
    check_files(out or [])
    judged, before = (read_runs(folder, names, judge) for names in (runs, baseline or []))
    say_notes([run.result for run in [*judged, *before]])
    if before:
        from lossmeter.report.recorded import check_comparable

        check_comparable(judged, before, across_seeds=across_seeds)
    cells = cells_frame(runs_frame(judged), runs_frame(before) if before else None)
    cells = with_sustained(cells, read_capacities(folder.parent))
    for file in out or []:
        save(file, cells, judged, before)
        say(f"written: {file}")
    OUT.print(matrix_table(cells))


def read_runs(folder: Path, names: Sequence[Path], judge: Judge) -> list[JudgedRun]:
    """Judge the runs of that name or path again.

    Raises:
        UsageError: one does not exist, is damaged, or does not fit its repeats.
        AlteredError: one was altered since it was recorded.
    """
    from lossmeter.record.runs import run_folder
    from lossmeter.report.recorded import check_repeats, judged_runs

    found = judged_runs([run_folder(folder, name) for name in names], judge)
    check_repeats(found)
    return found


def check_files(files: Sequence[Path]) -> None:
    """Make sure that each file can be written in a known way.

    Raises:
        UsageError: a suffix is not known, or the file cannot be written.
    """
    for file in files:
        if file.suffix not in _WRITERS:
            known = ", ".join(_WRITERS)
            raise UsageError(f"--out {file}: the suffix {file.suffix!r} is none of {known}")
        check_writable("--out", file)


def save(
    file: Path,
    cells: pd.DataFrame,
    runs: Sequence[JudgedRun],
    baseline: Sequence[JudgedRun] = (),
    layout: Layout | None = None,
) -> None:
    """Write a matrix in the way that the file's suffix says; ``layout`` is that of a page.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        write_bytes(file, _WRITERS[file.suffix](cells, runs, baseline, layout))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {why(error)}") from None


def _markdown(cells: pd.DataFrame) -> bytes:
    from lossmeter.report.matrix_markdown import matrix_markdown

    return matrix_markdown(cells).encode()


def _html(runs: Sequence[JudgedRun], baseline: Sequence[JudgedRun], layout: Layout | None) -> bytes:
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.report.capacity import read_capacities
    from lossmeter.report.dense import PLAIN
    from lossmeter.report.matrix_view import matrix_page

    capacities = read_capacities(Catalogue.here().results)
    return matrix_page(runs, baseline, capacities, layout or PLAIN).encode("utf-8", "replace")


_WRITERS: dict[
    str,
    Callable[
        [pd.DataFrame, Sequence[JudgedRun], Sequence[JudgedRun], Layout | None],
        bytes,
    ],
] = {
    ".md": lambda cells, *_: _markdown(cells),
    ".csv": lambda cells, *_: cells.to_csv(index=False).encode(),
    ".parquet": lambda cells, *_: cells.to_parquet(index=False),
    ".html": lambda _, runs, baseline, layout: _html(runs, baseline, layout),
}
