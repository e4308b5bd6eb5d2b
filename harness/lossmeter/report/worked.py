"""The table of the worked numbers: what the analysis says, and what runs showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from lossmeter.report import words
from lossmeter.report._layout import NOTHING, Column, Grid, Line, Shown
from lossmeter.report._templates import render
from lossmeter.studies.worked import Row


def worked_table(rows: Sequence[Row]) -> RenderableType:
    """Return the table for a terminal."""
    return Group(_grid(rows), *(Text(f"not run: {_not_run(row)}") for row in rows if row.why_not))


def _grid(rows: Sequence[Row]) -> Grid[Row]:
    return Grid(
        "The worked numbers of the analysis",
        (
            Column("worked number", lambda row: row.number.says, 0, words=True),
            Column("predicted", lambda row: _with_unit(row, row.number.value), 1, matters=_run),
            Column("model", lambda row: words.figure(row.model), 3, matters=_run),
            Column("measured", _measured, 4, words=True, matters=_run),
            Column("median", lambda row: words.figure(row.median), 0),
            Column("difference", _difference, 2, matters=_run),
            Column("within", _within, 0, words=True),
        ),
        rows,
    )


def _run(row: Row) -> bool:
    return row.made > 0


def worked_page(rows: Sequence[Row], command: str, machine: Mapping[str, object]) -> str:
    """Return the page, as Markdown."""
    return render(
        "worked.md.j2",
        {
            "command": command,
            "table": _grid(rows).markdown(),
            "sources": _sources(rows).markdown(),
            "not_run": [_not_run(row) for row in rows if row.why_not],
            "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
        },
    )


def _sources(rows: Sequence[Row]) -> Grid[Row]:
    return Grid(
        "What shows each number",
        (
            Column("worked number", lambda row: row.number.says, words=True),
            Column("runs", _runs, words=True),
            Column("tolerance", lambda row: f"± {_with_unit(row, row.number.tolerance)}"),
            Column("since", lambda row: row.number.reason, words=True),
        ),
        rows,
    )


def _runs(row: Row) -> str:
    number = row.number
    name = (
        number.experiment
        if number.variant == "default"
        else f"{number.experiment}-{number.variant}"
    )
    return f"{name} on {number.target}, {words.measure_name(number.measure)}"


def _with_unit(row: Row, value: float) -> str:
    return f"{words.figure(value)} {row.unit}".strip()


def _measured(row: Row) -> str:
    shown = ", ".join(map(words.figure, row.measured))
    if row.made > len(row.measured):
        shown += f" ({len(row.measured)} of {row.made} judged)"
    return shown.strip() or NOTHING


def _difference(row: Row) -> str:
    if row.difference is None:
        return NOTHING
    return f"{'−' if row.difference < 0 else '+'}{words.figure(abs(row.difference))}"


def _within(row: Row) -> Shown:
    return {True: Line("yes", "pass"), False: Line("no", "fail"), None: Line(NOTHING)}[row.within]


def _not_run(row: Row) -> str:
    return f"{row.number.says}: {row.why_not}"
