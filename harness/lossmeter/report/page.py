"""Pages for a browser: one file each, without scripts and without anything from outside."""

from __future__ import annotations

from pathlib import Path

from lossmeter.judge.verdict import Judged
from lossmeter.record.result import Result
from lossmeter.report._templates import render, write
from lossmeter.report.run_view import run_view
from lossmeter.report.saved import open_run

REPORT = "report.html"


def run_page(folder: Path, result: Result, home: str = "", judged: Judged | None = None) -> str:
    """Return the page of one run, from its judgement and what its folder holds.

    Where the judging is still open, what it was made of is not read and reconciled again.

    Raises:
        UsageError: it is not a run's folder, or its facts are damaged.
    """
    with open_run(folder, result, judged) as run:
        return render("run.html.j2", run_view(run, home))


def save_run_page(folder: Path, result: Result, judged: Judged | None = None) -> Path:
    """Write ``report.html`` into a run's folder and return its path."""
    return write(folder / REPORT, run_page(folder, result, judged=judged))
