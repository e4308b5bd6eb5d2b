"""The table of repeated runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.repeats import Decision, Summary

_DECIDED = {
    Decision.WITHIN: "[green]within budget[/]",
    Decision.OVER: "[bold red]over budget[/]",
    Decision.UNDECIDED: "[yellow]undecided[/]",
}


def repeats_table(summaries: Sequence[Summary]) -> RenderableType:
    """Return one line for each cell, and what the sequential test was."""
    table = Table(
        title="Repeated runs, by experiment and target",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    decides = any(summary.decision is not None for summary in summaries)
    level = f"{summaries[0].confidence:.0%}" if summaries else ""
    for name in ("experiment", "target"):
        table.add_column(name, no_wrap=True)
    for name in (
        *("runs", "judged", "lost some", f"chance ≤ ({level})", "lost, median", "interval"),
        *("over budget", f"chance ≤ ({level})", *(["decision"] if decides else [])),
    ):
        table.add_column(name, justify="right")
    for summary in summaries:
        table.add_row(*_cells(summary), *([_decision(summary)] if decides else []))
    tests = dict.fromkeys(summary.test for summary in summaries if summary.test)
    return Group(table, *(Text(f"decided by a sequential test: {test}") for test in tests))


def _cells(summary: Summary) -> list[str]:
    interval = "–"
    if summary.lost_low is not None and summary.lost_high is not None:
        interval = f"{summary.lost_low:g} to {summary.lost_high:g}"
    return [
        summary.experiment,
        summary.target,
        str(summary.runs),
        str(summary.judged),
        str(summary.lossy),
        _chance(summary.loss_chance_max),
        "–" if summary.lost_median is None else f"{summary.lost_median:g}",
        interval,
        str(summary.broken),
        _chance(summary.break_chance_max),
    ]


def _chance(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _decision(summary: Summary) -> str:
    return "–" if summary.decision is None else _DECIDED[summary.decision]
