"""The table of the worked numbers: what the analysis says, and what runs showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.worked import Number, Row

HEAD = ("worked number", "predicted", "model", "measured", "median", "difference", "within")


def worked_table(rows: Sequence[Row]) -> RenderableType:
    """Return the table for a terminal."""
    table = Table(
        title="The worked numbers of the analysis",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    for name in HEAD:
        table.add_column(name, justify="left" if name == HEAD[0] else "right")
    for row in rows:
        table.add_row(*_cells(row))
    return Group(table, *(Text(f"not run: {_not_run(row)}") for row in rows if row.why_not))


def worked_page(rows: Sequence[Row], command: str, machine: Mapping[str, object]) -> str:
    """Return the page, as Markdown.

    Args:
        rows: in the order of their file.
        command: that writes it.
        machine: on which the runs were made.
    """
    lines = [
        "# The worked numbers of the analysis",
        "",
        f"Written by `{command}`; do not edit.",
        "*Predicted* is what the analysis says, *model* what the harness's own model says of these",
        "runs (median), *measured* each judged run, and *difference* their median minus what the",
        "analysis says.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|---|{'---:|' * (len(HEAD) - 1)}",
    ]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    lines += ["", "| worked number | runs | tolerance | since |", "|---|---|---:|---|"]
    for row in rows:
        number = row.number
        name = number.experiment if number.variant == "default" else _joined(number)
        shown = f"`{name}` on `{number.target}`, `{number.measure}`"
        tolerance = f"± {_figure(number.tolerance)} {row.unit}".strip()
        lines.append(f"| {number.says} | {shown} | {tolerance} | {number.reason} |")
    if not_run := [f"- {_not_run(row)}" for row in rows if row.why_not]:
        lines += ["", "Not run:", "", *not_run]
    told = ", ".join(f"{name} {value}" for name, value in machine.items())
    return "\n".join([*lines, "", f"Machine: {told}.", ""])


def _joined(number: Number) -> str:
    return f"{number.experiment}-{number.variant}"


def _cells(row: Row) -> list[str]:
    number = row.number
    measured = ", ".join(_figure(value) for value in row.measured)
    if row.made > len(row.measured):
        measured += f" ({len(row.measured)} of {row.made} judged)"
    difference = None if row.difference is None else f"{row.difference:+.4g}"
    return [
        number.says,
        f"{_figure(number.value)} {row.unit}".strip(),
        _figure(row.model),
        measured.strip() or "–",
        _figure(row.median),
        difference or "–",
        {True: "yes", False: "no", None: "–"}[row.within],
    ]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _not_run(row: Row) -> str:
    return f"{row.number.says}: {row.why_not}"
