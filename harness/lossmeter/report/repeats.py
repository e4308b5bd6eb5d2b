"""The table of repeated runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from lossmeter.model import HELD
from lossmeter.report import words
from lossmeter.report._layout import NOTHING, Column, Grid, Line, Shown
from lossmeter.studies.repeats import Decision, Summary

_DECIDED = {
    None: Line(NOTHING),
    Decision.WITHIN: Line("within budget", "pass"),
    Decision.OVER: Line("over budget", "fail"),
    Decision.UNDECIDED: Line("undecided", "doubt"),
}


def repeats_table(summaries: Sequence[Summary]) -> RenderableType:
    """Return one line for each cell, and what the sequential test was."""
    level = f"{summaries[0].confidence:.0%}" if summaries else ""
    columns: list[Column[Summary]] = [
        Column("experiment", lambda s: s.experiment, 0, words=True),
        Column("target", lambda s: s.target, 0, words=True),
        Column("runs", lambda s: str(s.runs), 3, matters=_always),
        Column("judged", lambda s: str(s.judged), 4, matters=_always),
        Column("lost some", lambda s: str(s.lossy), 1, matters=_always),
        Column(
            f"chance to lose ≤ ({level})",
            lambda s: _chance(s.loss_chance_max),
            6,
            matters=_always,
        ),
        Column("lost, median", lambda s: words.figure(s.lost_median), 0),
        Column("interval", _interval, 5, matters=_always),
        *(_held(name) for name in HELD),
        Column("over budget", lambda s: str(s.broken), 0),
        Column(
            f"chance to be over ≤ ({level})",
            lambda s: _chance(s.break_chance_max),
            7,
            matters=_always,
        ),
    ]
    if any(summary.decision is not None for summary in summaries):
        columns.append(Column("decision", lambda s: _DECIDED[s.decision], 0, words=True))
    tests = dict.fromkeys(summary.test for summary in summaries if summary.test)
    grid = Grid("Repeated runs, by experiment and target", columns, summaries)
    return Group(grid, *(Text(f"decided by a sequential test: {test}") for test in tests))


def _held(name: str) -> Column[Summary]:
    return Column(
        f"{words.measure_name(name)}, most",
        lambda s: words.count(s.held_most.get(name, 0)),
        2,
        matters=lambda s: name in s.held_most,
        always=False,
    )


def _always(_: Summary) -> bool:
    return True


def _interval(summary: Summary) -> Shown:
    if summary.lost_low is None or summary.lost_high is None:
        return NOTHING
    return f"{words.figure(summary.lost_low)} to {words.figure(summary.lost_high)}"


def _chance(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1%}"
