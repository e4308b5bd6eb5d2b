"""The matrix of experiments and targets as a table for a terminal."""

from __future__ import annotations

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.model import Verdict
from harness.report import words
from harness.report._markup import one_line, terminal_text
from harness.report.backends import UNKNOWN
from harness.report.change import CONFIDENCE, Change
from harness.report.matrix import (
    METRICS,
    Metric,
    cell_text,
    change_text,
    has_baseline,
    records,
    where,
)
from harness.report.table import COLOURS

CHANGE_COLOURS = {
    Change.BETTER: "green",
    Change.WORSE: "bold red",
    Change.NOISE: "dim",
    Change.FEW: "yellow",
}
NARROW_METRICS = 5
WIDE = 110


def matrix_table(cells: pd.DataFrame, width: int) -> RenderableType:
    """Return the cells as a table, and with a baseline what changed.

    Args:
        cells: as ``matrix.cells_frame`` returns them.
        width: columns of the terminal.
    """
    metrics = METRICS if width >= WIDE else METRICS[:NARROW_METRICS]
    table = Table(
        title="Experiments and targets: median of the repeats, and their range",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    for name in ("experiment", "target"):
        table.add_column(name, no_wrap=True)
    table.add_column("runs", justify="right")
    for metric in metrics:
        table.add_column(metric.name, justify="right")
    table.add_column("verdict")
    previous = ""
    for row, target in zip(records(cells), where(cells), strict=True):
        experiment = str(row["experiment"])
        if previous and experiment != previous:
            table.add_section()
        previous = experiment
        verdict = Verdict(str(row["verdict"]))
        shown = [_cell(row, metric) for metric in metrics]
        table.add_row(
            terminal_text(experiment),
            terminal_text(str(target)),
            str(row["runs"]),
            *shown,
            Text(str(verdict), style=COLOURS[verdict]),
        )
    below = [Text(told)] if (told := _sustained(cells)) else []
    if has_baseline(cells):
        below.append(Text(legend(cells), style="dim"))
    return Group(table, *below)


def _sustained(cells: pd.DataFrame) -> str:
    """Return the highest rate that each target sustains, of those of which it is known."""
    if "sustained" not in cells:
        return ""
    rates = dict(zip(where(cells), cells["sustained"], strict=True))
    told = [f"{one_line(str(name))} {rate}" for name, rate in rates.items() if rate != UNKNOWN]
    return f"Highest rate sustained: {', '.join(told)}" if told else ""


def _cell(row: dict[str, object], metric: Metric) -> Text:
    text = Text(cell_text(row, metric))
    if told := change_text(row, metric):
        changed = Change(str(row[f"{metric.key}_change"]))
        text.append(f"\n{told}", style=CHANGE_COLOURS[changed])
    return text


def legend(cells: pd.DataFrame) -> str:
    """Return how the changes are to be read."""
    told = (
        f"better, worse: the {CONFIDENCE:.0%} bootstrap interval of the difference of means leaves "
        f"out 0; of {round(1 / (1 - CONFIDENCE))} figures that did not change, one is marked by "
        "chance."
    )
    few = sum((cells[f"{metric.key}_change"] == Change.FEW).sum() for metric in METRICS)
    if few:
        told += (
            " cannot tell: too few repeats; with 4 on each side a difference can be told from "
            f"chance (here {words.plural(int(cells['runs'].min()), 'run')} at least)."
        )
    return told
