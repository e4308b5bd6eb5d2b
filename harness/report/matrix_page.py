"""The page of a whole matrix; apart from those of runs, which need no pandas to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.capacity import Capacity
from harness.report.matrix import cells_frame, runs_frame
from harness.report.matrix_view import matrix_view
from harness.report.page import render
from harness.report.recorded import JudgedRun


def matrix_page(
    runs: Sequence[JudgedRun],
    baseline: Sequence[JudgedRun] = (),
    capacities: Mapping[tuple[str, str], Capacity] | None = None,
) -> str:
    """Return the page of a whole matrix of experiments and targets.

    Args:
        runs: one or more, checked for being comparable (``recorded.check_repeats``).
        baseline: what they are compared with; empty for no comparison.
        capacities: highest sustained rate by target and runtime, where it was measured.
    """
    before = runs_frame(baseline) if baseline else None
    cells = cells_frame(runs_frame(runs), before)
    return render("matrix.html.j2", matrix_view(runs, cells, capacities or {}))
