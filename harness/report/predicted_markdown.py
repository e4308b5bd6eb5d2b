"""What was predicted of each run beside what was measured, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report import words
from harness.report._markup import markdown_cell
from harness.report.matrix_markdown import table
from harness.report.predicted_view import PredictedLine, predicted_lines, was_collected
from harness.report.recorded import JudgedRun
from harness.result import Result

HEADS = ("experiment", "target", "runtime", "verdict", "refused", "lost", "predicted", "other")
MISSED = "✗"


def predicted_table(runs: Sequence[JudgedRun]) -> str:
    """Return a row for each run; ``✗`` marks a figure beyond its tolerance."""
    ordered = sorted(
        (run.result for run in runs), key=lambda r: (r.experiment, r.target, r.runtime, r.repeat)
    )
    return table(list(HEADS), [_row(result) for result in ordered]).replace("---:", "---")


def _row(result: Result) -> list[str]:
    lines = predicted_lines(result)
    lost = next((line for line in lines if line.name == "lost, events"), None)
    others = [_told(line) for line in lines if line is not lost]
    collected = was_collected(result)
    return [
        markdown_cell(result.experiment),
        markdown_cell(result.target),
        markdown_cell(result.runtime),
        result.verdict,
        words.count(result.counts.refused),
        words.count(result.counts.lost) if collected else "–",
        f"{lost.predicted}{_mark(lost)}" if lost else "–",
        "<br>".join(others) or "–",
    ]


def _told(line: PredictedLine) -> str:
    return f"{markdown_cell(line.name)}: {line.measured} ({line.predicted}){_mark(line)}"


def _mark(line: PredictedLine) -> str:
    return f" {MISSED}" if line.holds is False else ""
