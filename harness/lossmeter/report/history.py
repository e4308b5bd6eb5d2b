"""Runs over time: a row for each experiment, target and runtime, with small curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from rich.console import Group, RenderableType
from rich.text import Text

from lossmeter.model import Verdict
from lossmeter.record.index import Trend
from lossmeter.record.outcome import counted
from lossmeter.report import words
from lossmeter.report._layout import NOTHING, Column, Grid, styled
from lossmeter.report._markup import one_line
from lossmeter.report.seldom import seldom_shown

BARS = "▁▂▃▄▅▆▇█"
GAP = "·"


def figures_of(trends: Sequence[Trend]) -> list[str]:
    """Return the figures of a trend that are shown."""
    seldom = seldom_shown(lambda name: (v for trend in trends for v in trend.figures(name)))
    return ["lost", *seldom, "recovery_s", "throughput_per_s"]


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


def figure_text(name: str, values: Sequence[float | None]) -> str:
    """Return the last value, and the median of those before it where it differs."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    last = words.measured(name, known[-1])
    before = words.measured(name, median(known[:-1])) if len(known) > 1 else last
    return last if last == before else f"{last} (was {before})"


def history_table(trends: Sequence[Trend]) -> RenderableType:
    """Return the table of trends; the newest run is on the right of each curve."""
    columns: list[Column[Trend]] = [
        Column("experiment", lambda trend: trend.experiment, 0, words=True),
        Column("target", lambda trend: trend.target, 0, words=True),
        Column("runtime", lambda trend: trend.runtime, 1, words=True, matters=lambda _: True),
        Column("runs", lambda trend: words.count(len(trend.entries)), 3),
    ]
    for place, name in enumerate(figures_of(trends)):
        columns += _figure(name, place)
    columns.append(
        Column("verdicts", lambda trend: counted(e.verdict for e in trend.entries), 0, words=True)
    )
    grid = Grid("Runs over time, the newest on the right", columns, trends)
    return Group(grid, *_latest(trends))


def _figure(name: str, place: int) -> list[Column[Trend]]:
    """Return the columns of a figure: its last value, and its curve where there is room."""
    head = words.measure_name(name)
    return [
        Column(
            head,
            lambda trend: figure_text(name, trend.figures(name)),
            4 * place,
            matters=lambda _: True,
        ),
        Column(f"{head} by run", lambda trend: curve(trend.figures(name)), 4 * place + 2),
    ]


def _latest(trends: Sequence[Trend]) -> list[Text]:
    """Return a line for each cell whose newest run did not pass."""
    return [
        Text.assemble(
            (one_line(f"{trend.experiment} on {trend.target} ({trend.runtime}) "), "bold"),
            styled(trend.last.verdict, trend.last.verdict),
            f": {one_line(trend.last.reason)}",
        )
        for trend in trends
        if trend.last.verdict != Verdict.PASS
    ]
