"""What was predicted of each cell beside what was measured, as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lossmeter.model import HELD
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report._layout import NOTHING, Column, Grid, Line
from lossmeter.report.matrix import GRAVITY
from lossmeter.report.predicted_view import PredictedLine, predicted_lines, was_collected
from lossmeter.report.recorded import JudgedRun

MISSED = "✗"


def predicted_table(runs: Sequence[JudgedRun]) -> str:
    """Return a row for each cell, its worst run; ``✗`` marks a figure beyond its tolerance."""
    cells: dict[tuple[str, str, str], list[Result]] = {}
    for run in sorted(runs, key=lambda run: run.cell):
        cells.setdefault(run.cell, []).append(run.result)
    return _grid([_worst(results) for results in cells.values()], cells).markdown()


def _worst(results: Sequence[Result]) -> Result:
    """Return the run of the gravest verdict; of equals the furthest from its prediction."""
    return min(results, key=lambda r: (GRAVITY.index(r.verdict), -abs(r.difference or 0), r.repeat))


def _grid(
    results: Sequence[Result], cells: Mapping[tuple[str, str, str], Sequence[Result]]
) -> Grid[Result]:
    def runs(result: Result) -> str:
        number = len(cells[result.experiment, result.target, result.runtime])
        return str(number) if number > 1 else ""

    return Grid(
        "Predicted beside measured",
        (
            Column("experiment", lambda r: r.experiment, words=True),
            Column("target", lambda r: r.target, words=True),
            Column("runtime", lambda r: r.runtime, words=True),
            Column("runs", runs, always=False),
            Column("verdict", lambda r: r.verdict, words=True),
            Column("refused", lambda r: words.count(r.counts.refused)),
            Column("lost", lambda r: words.count(r.counts.lost) if was_collected(r) else NOTHING),
            *(_held(name) for name in HELD),
            Column("predicted", _predicted),
            Column("other", _others, words=True),
        ),
        results,
    )


def _held(name: str) -> Column[Result]:
    return Column(words.measure_name(name), lambda r: words.count(r.count(name)), always=False)


def _predicted(result: Result) -> str:
    lost = _lost(result)
    return f"{lost.predicted}{_mark(lost)}" if lost else NOTHING


def _lost(result: Result) -> PredictedLine | None:
    return next((line for line in predicted_lines(result) if line.name.startswith("lost")), None)


def _others(result: Result) -> tuple[Line, ...]:
    lost = _lost(result)
    others = [Line(_described(line)) for line in predicted_lines(result) if line != lost]
    return tuple(others) or (Line(NOTHING),)


def _described(line: PredictedLine) -> str:
    return f"{line.name}: {line.measured} ({line.predicted}){_mark(line)}"


def _mark(line: PredictedLine) -> str:
    return f" {MISSED}" if line.holds is False else ""
