"""The matrix of experiments and targets as a table for a terminal."""

from __future__ import annotations

import math

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from lossmeter.model import plural
from lossmeter.report._layout import Column, Grid, Line, Shown
from lossmeter.report._markup import one_line
from lossmeter.report.backends import UNKNOWN
from lossmeter.report.change import CONFIDENCE, Change
from lossmeter.report.matrix import (
    Metric,
    cell_text,
    change_text,
    has_baseline,
    metrics_in,
    records,
    where,
)

_KINDS = {
    Change.BETTER: "better",
    Change.WORSE: "worse",
    Change.NOISE: "quiet",
    Change.FEW: "doubt",
}
Cell = dict[str, object]


def matrix_table(cells: pd.DataFrame) -> RenderableType:
    """Return the cells as a table, and with a baseline what changed."""
    columns: list[Column[Cell]] = [
        Column("experiment", lambda row: str(row["experiment"]), 0, words=True),
        Column("target", lambda row: str(row["where"]), 0, words=True),
        Column("runs", lambda row: str(row["runs"]), 3, matters=lambda row: row["runs"] != 1),
        *(_column(metric, place) for place, metric in enumerate(metrics_in(cells))),
        Column("verdict", _verdict, 0, words=True),
    ]
    grid = Grid(
        "Experiments and targets: median of the repeats, and their range",
        columns,
        records(cells.assign(where=where(cells))),
        group=lambda row: row["experiment"],
    )
    below = [Text(line)] if (line := _sustained(cells)) else []
    if has_baseline(cells):
        below.append(Text(legend(cells), style="dim"))
    return Group(grid, *below)


def _verdict(row: Cell) -> Line:
    return Line(str(row["verdict"]), str(row["verdict"]))


def _column(metric: Metric, place: int) -> Column[Cell]:
    return Column(
        metric.name,
        lambda row: _cell(row, metric),
        0 if metric.key == "lost" else place + (1 if place < 3 else 2),
        matters=lambda row: _matters(row, metric),
    )


def _matters(row: Cell, metric: Metric) -> bool:
    """Return whether a metric says something of a cell: it is not 0, or it changed."""
    if str(row.get(f"{metric.key}_change")) in {Change.BETTER, Change.WORSE}:
        return True
    if metric.key in {"throughput_per_s", "latency_p99_ms"}:
        # Of a run with a fault they say how long the fault was.
        return math.isnan(float(str(row["recovery_s"])))
    return float(str(row[f"{metric.key}_max"])) > 0


def _sustained(cells: pd.DataFrame) -> str:
    """Return the highest rate that each target sustains, of those of which it is known."""
    if "sustained" not in cells:
        return ""
    rates = dict(zip(where(cells), cells["sustained"], strict=True))
    reported = [f"{one_line(str(name))} {rate}" for name, rate in rates.items() if rate != UNKNOWN]
    return f"Highest rate sustained: {', '.join(reported)}" if reported else ""


def _cell(row: Cell, metric: Metric) -> Shown:
    shown = Line(cell_text(row, metric), "strong" if metric.key == "lost" else "")
    if not (changed := change_text(row, metric)):
        return shown
    return shown, Line(changed, _KINDS[Change(str(row[f"{metric.key}_change"]))])


def legend(cells: pd.DataFrame) -> str:
    """Return how the changes are to be read."""
    reported = (
        f"better, worse: the {CONFIDENCE:.0%} bootstrap interval of the difference of means leaves "
        f"out 0; of {round(1 / (1 - CONFIDENCE))} figures that did not change, one is marked by "
        "chance."
    )
    few = sum((cells[f"{metric.key}_change"] == Change.FEW).sum() for metric in metrics_in(cells))
    if few:
        reported += (
            " cannot tell: too few repeats; with 4 on each side a difference can be told from "
            f"chance (here {plural(int(cells['runs'].min()), 'run')} at least)."
        )
    return reported
