"""The model's answers for an engineer's own numbers, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lossmeter.model import Predicted
from lossmeter.plan.predict.planning import PlanAnswer, Planned, answers
from lossmeter.plan.predict.safe import Side, side_of
from lossmeter.report import words
from lossmeter.report._layout import Column, Grid


def plan_table(planned: Planned) -> RenderableType:
    """Return what the model says of a dispatcher."""
    grid: Grid[PlanAnswer] = Grid(
        "What the model predicts",
        (
            Column("question", lambda each: each.question, 0, words=True),
            Column("answer", answer_text, 0),
        ),
        answers(planned),
    )
    return Group(grid, "", Text(f"for {planned.dispatcher.basis}", style="dim"))


def expected_table(expected: Sequence[tuple[str, str, Predicted]]) -> Grid[Any]:
    """Return what is predicted of runs that are not made: experiment, target, and what."""
    return Grid(
        "What the model predicts",
        (
            Column("experiment", lambda row: row[0], 0, words=True),
            Column("target", lambda row: row[1], 0, words=True),
            Column("lost", lambda row: _lost(row[2]), 0),
            Column("other", lambda row: _others(row[2]), 0, words=True),
            Column("from", lambda row: row[2].basis, 0, words=True),
        ),
        expected,
        group=lambda row: row[0],
    )


def _lost(predicted: Predicted) -> str:
    return "–" if predicted.lost is None else _within(predicted.lost, predicted.lost_tolerance)


def _others(predicted: Predicted) -> str:
    shown = []
    for each in predicted.figures:
        within = _within(each.value, each.tolerance, each.name, side_of(each.name))
        shown.append(f"{words.measure_name(each.name)} {within}")
    if predicted.duplicated_max is not None:
        shown.append(f"duplicated ≤ {words.count(predicted.duplicated_max)}")
    return "; ".join(shown) or "–"


def answer_text(answer: PlanAnswer) -> str:
    """Return an answer as it is shown: rounded to its safe side, and its tolerance up."""
    if answer.value is None:
        return "never"
    if isinstance(answer.value, str):
        return answer.value
    return _within(answer.value, answer.tolerance, answer.unit, answer.safe)


def _within(value: float, tolerance: float, unit: str = "", side: Side = "up") -> str:
    shown = words.measured(unit, value, side)
    return f"{shown} ± {words.measured(unit, tolerance, 'up')}" if tolerance else shown
