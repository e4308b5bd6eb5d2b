"""Runs over time: a row for each experiment, target and runtime, with small curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.history import Trend
from harness.model import Verdict
from harness.outcome import counted
from harness.report._markup import one_line
from harness.report.table import COLOURS

BARS = "▁▂▃▄▅▆▇█"
GAP = "·"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a trend: its head, its field, and how a number is written."""

    head: str
    field: str
    form: str


FIGURES = (
    Figure("lost", "lost", "{:.0f}"),
    Figure("recovery", "recovery_s", "{:.1f} s"),
    Figure("throughput", "throughput_per_s", "{:.0f}/s"),
)


def curve(values: Sequence[float | None]) -> str:
    """Return one bar for each value, from the least to the greatest; a dot where there is none.

    Values that are all the same are drawn low, so that a steady figure is a flat line.
    """
    known = [value for value in values if value is not None]
    if not known:
        return GAP * len(values)
    low, span = min(known), max(known) - min(known)
    return "".join(GAP if value is None else _bar(value - low, span) for value in values)


def _bar(above: float, span: float) -> str:
    if not span:
        return BARS[0]
    return BARS[min(len(BARS) - 1, math.floor(above / span * len(BARS)))]


def figure_text(figure: Figure, values: Sequence[float | None]) -> str:
    """Return the last value, and the median of those before it where it differs."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    last = figure.form.format(known[-1])
    before = figure.form.format(median(known[:-1])) if len(known) > 1 else last
    return last if last == before else f"{last} (was {before})"


def history_table(trends: Sequence[Trend]) -> RenderableType:
    """Return the table of trends; the newest run is on the right of each curve."""
    table = Table(
        title="Runs over time, the newest on the right",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    for head in ("experiment", "target", "runtime", "runs"):
        table.add_column(head, justify="right" if head == "runs" else "left", no_wrap=True)
    for figure in FIGURES:
        table.add_column(figure.head, no_wrap=True)
    table.add_column("verdicts")
    for trend in trends:
        table.add_row(
            *(escape(one_line(cell)) for cell in (trend.experiment, trend.target, trend.runtime)),
            str(len(trend.entries)),
            *(_figure_cell(figure, trend) for figure in FIGURES),
            counted(each.verdict for each in trend.entries),
        )
    return Group(table, *_latest(trends))


def _figure_cell(figure: Figure, trend: Trend) -> str:
    values = trend.figures(figure.field)
    return f"{curve(values)} {figure_text(figure, values)}"


def _latest(trends: Sequence[Trend]) -> list[Text]:
    """Return a line for each cell whose newest run did not pass."""
    return [
        Text.assemble(
            (one_line(f"{trend.experiment} on {trend.target} ({trend.runtime}) "), "bold"),
            (trend.last.verdict, COLOURS[Verdict(trend.last.verdict)]),
            f": {one_line(trend.last.reason)}",
        )
        for trend in trends
        if trend.last.verdict != Verdict.PASS
    ]
