"""Pages in HTML and Markdown from the templates of this folder, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lossmeter.errors import UsageError
from lossmeter.record.files import why, write_text


def write(path: Path, text: str) -> Path:
    """Write a file at once; a reader never sees half of it.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {why(error)}") from None
    return path


def render(name: str, view: Mapping[str, object]) -> str:
    """Return a template filled with its variables; in pages all of it is escaped."""
    return _environment().get_template(name).render({"home": "", **view})


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("lossmeter.report"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
