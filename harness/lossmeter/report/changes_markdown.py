"""What changed against the runs of another branch, as a comment on a merge request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from lossmeter.model import plural
from lossmeter.report._layout import markdown_table
from lossmeter.report._markup import markdown_cell
from lossmeter.report.change import Change
from lossmeter.report.matrix import Metric, cell_text, metrics_in, records, where
from lossmeter.report.matrix_table import legend

# By this line a program finds the comment that it wrote before, and replaces it.
MARKER = "<!-- lossmeter: events lost -->"
_MARKS = {
    Change.WORSE: "🔺 worse",
    Change.BETTER: "✅ better",
    Change.NOISE: "within noise",
    Change.FEW: "❔ cannot tell",
    Change.ABSENT: "no baseline",
}
_HEADS = ("", "experiment", "target", "figure", "base", "now")
_FIGURES = (False, False, False, False, True, True)
# Shown at once; the rest is folded.
_LOUD = (Change.WORSE, Change.BETTER)


@dataclass(frozen=True, slots=True)
class _Figure:
    """One figure of a cell beside that of the base."""

    change: Change
    cells: tuple[str, ...]


def changes_markdown(cells: pd.DataFrame) -> str:
    """Return the comment.

    Args:
        cells: of ``cells_frame``, compared with a baseline.
    """
    figures = list(_figures(cells))
    counts = {change: sum(each.change is change for each in figures) for change in _MARKS}
    known = {change: number for change, number in counts.items() if change is not Change.ABSENT}
    reported = ", ".join(f"{number} {change}" for change, number in known.items() if number)
    lines = [MARKER, f"### Events lost, against the base: {reported or 'nothing to compare with'}"]
    if loud := [each for each in figures if each.change in _LOUD]:
        lines.append(_table(sorted(loud, key=lambda each: _LOUD.index(each.change))))
    lines += [
        _folded(f"{plural(len(quiet), 'figure')}: {change}", quiet)
        for change in (Change.FEW, Change.NOISE, Change.ABSENT)
        if (quiet := [each for each in figures if each.change is change])
    ]
    lines.append(f"<sub>{legend(cells)}</sub>")
    return "\n\n".join(lines) + "\n"


def _figures(cells: pd.DataFrame) -> Iterator[_Figure]:
    for row in records(cells.assign(where=where(cells))):
        for metric in metrics_in(cells):
            yield _figure(row, metric)


def _figure(row: dict[str, object], metric: Metric) -> _Figure:
    change = Change(str(row[f"{metric.key}_change"]))
    absent = change is Change.ABSENT
    was = "–" if absent else metric.show(float(str(row[f"{metric.key}_baseline"])))
    shown = (str(row["experiment"]), str(row["where"]), metric.name, was, cell_text(row, metric))
    return _Figure(change, (_MARKS[change], *map(markdown_cell, shown)))


def _table(figures: Sequence[_Figure]) -> str:
    return markdown_table(_HEADS, [each.cells for each in figures], _FIGURES)


def _folded(summary: str, figures: Sequence[_Figure]) -> str:
    return f"<details><summary>{summary}</summary>\n\n{_table(figures)}\n\n</details>"
