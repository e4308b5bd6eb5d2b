"""A matrix without holes: why a cell has no result, and what each remedy mends and costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lossmeter.model import HELD
from lossmeter.plan.refusal import Refusal
from lossmeter.plan.remedies import Place, Remedy
from lossmeter.report._layout import NOTHING, Column, Grid, Line, Shown
from lossmeter.report.matrix import BY_KEY, Metric, cell_text, records, span_text

NOT_MEASURED = "not measured"
# What the remedies are compared by, and of which of these a change has its price beside it.
_COMPARED = ("lost", *HELD, "refused", "duplicated", "throughput_per_s", "latency_p99_ms")
_COSTS = {"throughput_per_s", "latency_p99_ms"}
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a matrix is laid out.

    Attributes:
        absent: why a cell has no result, by experiment and target.
        remedies: what stands in the table of remedies, and so not in the matrix.
        show: how a metric of a cell is shown.
    """

    absent: Mapping[Place, Refusal] = field(default_factory=dict)
    remedies: Sequence[Remedy] = ()
    show: Callable[[Row, Metric], str] = cell_text

    @classmethod
    def dense(cls, absent: Mapping[Place, Refusal], remedies: Sequence[Remedy]) -> Layout:
        """Return a layout without holes, with the range of the repeats in each cell."""
        return cls(absent, remedies, span_text)

    @property
    def whole(self) -> bool:
        """Return whether each cell has a result or says why not."""
        return self.show is span_text

    def without_remedies(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Return the cells that are not shown as remedies; all where that would be none."""
        mended = {remedy.mended for remedy in self.remedies}
        places = zip(cells["experiment"], cells["target"], strict=True)
        return cells[[place not in mended for place in places]] if mended else cells

    def rows(self, cells: pd.DataFrame) -> list[str]:
        """Return the experiments: those of the cells, and those of which there is no run."""
        return list(dict.fromkeys([*cells["experiment"], *(e for e, _ in self._shown(cells))]))

    def columns(self, cells: pd.DataFrame, heads: Sequence[str]) -> list[str]:
        """Return the heads of the columns, and targets of which there is no run."""
        return list(dict.fromkeys([*heads, *(t for _, t in self._shown(cells))]))

    def why(self, experiment: str, target: str) -> str:
        """Return in a word or two why a cell has no result; empty where holes are allowed."""
        if (known := self.absent.get((experiment, target))) is not None:
            return known.short
        return NOT_MEASURED if self.whole else ""

    def _shown(self, cells: pd.DataFrame) -> list[Place]:
        """Return the cells without a run; of several runtimes none, whose heads name both."""
        if len(set(cells["runtime"])) > 1:
            return []
        mended = {remedy.mended for remedy in self.remedies}
        return [place for place in self.absent if place not in mended]


# Holes, and medians with their range: of runs that nobody planned together.
PLAIN = Layout()


@dataclass(frozen=True, slots=True)
class Pair:
    """A remedy with its cells; None for one that has no run."""

    remedy: Remedy
    bare: Row | None
    mended: Row | None


def remedies_grid(cells: pd.DataFrame, layout: Layout) -> Grid[Pair]:
    """Return a line for each scenario and remedy, on each runtime: without → with."""
    found: dict[object, dict[Place, Row]] = {}
    for row in records(cells):
        place = str(row["experiment"]), str(row["target"])
        found.setdefault(row["runtime"], {})[place] = row
    pairs = [
        Pair(remedy, rows.get(remedy.bare), rows.get(remedy.mended))
        for rows in found.values()
        for remedy in layout.remedies
    ]
    return Grid(
        "Remedies: without → with",
        (
            Column("scenario", lambda pair: pair.remedy.scenario, words=True),
            Column("without", lambda pair: pair.remedy.bare[1], words=True),
            Column("with", lambda pair: pair.remedy.name, words=True),
            *(_column(BY_KEY[key], layout) for key in _COMPARED if key in cells),
        ),
        [pair for pair in pairs if pair.bare or pair.mended or len(found) == 1],
        group=lambda pair: pair.remedy.scenario,
    )


def _column(metric: Metric, layout: Layout) -> Column[Pair]:
    def show(pair: Pair) -> Shown:
        remedy = pair.remedy
        before, after = (
            _side(row, place, metric, layout)
            for row, place in ((pair.bare, remedy.bare), (pair.mended, remedy.mended))
        )
        first = Line(before if before == after else f"{before} → {after}")
        change = _change(pair, metric.key) if metric.key in _COSTS else ""
        return (first, Line(change)) if change else first

    return Column(metric.name, show)


def _side(row: Row | None, place: Place, metric: Metric, layout: Layout) -> str:
    if row is None:
        return layout.why(*place) or NOTHING
    # Of a run that was not judged no figure counts, and its verdict says so once.
    if not row["judged"]:
        return str(row["verdict"]) if metric.key == "lost" else NOTHING
    return layout.show(row, metric)


def _change(pair: Pair, key: str) -> str:
    """Return by how much a median differs, in per cent; empty where one was not measured."""
    if pair.bare is None or pair.mended is None:
        return ""
    before, after = (float(str(row[key])) for row in (pair.bare, pair.mended))
    if not before > 0 or not after >= 0:
        return ""
    return f"{100 * (after / before - 1):+,.0f} %".replace("-", "−")
