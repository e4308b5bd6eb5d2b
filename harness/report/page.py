"""Pages for a browser: one file each, without scripts and without anything from outside."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.errors import UsageError
from harness.report.run_view import run_view
from harness.report.saved import open_run

REPORT = "report.html"


def run_page(folder: Path) -> str:
    """Return the page of one run, from what its folder holds.

    Raises:
        UsageError: it is not a run's folder, or its facts or result are damaged.
    """
    with open_run(folder) as run:
        return render("run.html.j2", run_view(run))


def save_run_page(folder: Path) -> Path:
    """Write ``report.html`` into a run's folder and return its path."""
    return write(folder / REPORT, run_page(folder))


def write(path: Path, text: str) -> Path:
    """Write a file at once; a reader never sees half of it.

    Raises:
        UsageError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.tmp")
    try:
        # What is no text, e.g. half a surrogate from a log, must not cost the page.
        partial.write_text(text, encoding="utf-8", errors="replace")
        return partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def render(name: str, view: dict[str, object]) -> str:
    """Return a template filled with its variables; everything in them is escaped."""
    return _environment().get_template(name).render(view)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
