"""``lossmeter changes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossmeter.commands._shared import check_writable, save_output, say, say_notes
from lossmeter.commands.compare import read_runs
from lossmeter.errors import UsageError


def command(
    base: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The runs of the base branch: a copy of its folder of runs."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.md", help="Write it here. Default: standard output."),
    ] = None,
) -> None:
    """Say what changed against another branch's runs, as Markdown for a comment.

    Compares all recorded runs with all in that folder, by experiment and target: worse, better,
    or within the noise of the repeats. Where the folder does not exist yet, it says just that.
    """
    from lossmeter.judge.again import judge_in_force
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plugins import need

    need("pandas", "scipy")
    from lossmeter.record.runs import run_folders
    from lossmeter.report.changes_markdown import MARKER, changes_markdown
    from lossmeter.report.matrix import cells_frame, runs_frame
    from lossmeter.report.recorded import check_comparable

    if out is not None:
        check_writable("--out", out)
    catalogue = Catalogue.here()
    judge = judge_in_force(catalogue)
    runs = read_runs(catalogue.runs, run_folders(catalogue.runs), judge)
    if not runs:
        raise UsageError(f"{catalogue.runs} holds no run yet; make one with `lossmeter run crash`")
    before = read_runs(base, run_folders(base), judge)
    say_notes([run.result for run in [*runs, *before]])
    if {run.cell for run in runs} & {run.cell for run in before}:
        check_comparable(runs, before, across_seeds=False)
        text = changes_markdown(cells_frame(runs_frame(runs), runs_frame(before)))
    else:
        text = f"{MARKER}\n\n### Events lost: the base has no runs of these experiments yet\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    save_output("--out", out, text)
    say(f"written: {out}")
