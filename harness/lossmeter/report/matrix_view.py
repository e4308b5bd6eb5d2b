"""The page of a matrix: heat maps of experiments and targets, and of rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lossmeter.model import Verdict, plural
from lossmeter.report._layout import Column, Grid
from lossmeter.report._layout import Line as TableLine
from lossmeter.report._templates import render
from lossmeter.report.backends import Advice, Tier, advise, beside_rates, sustained, tiers
from lossmeter.report.capacity import RecordedCapacity
from lossmeter.report.change import Change
from lossmeter.report.dense import PLAIN, Layout, remedies_grid
from lossmeter.report.matrix import (
    BY_KEY,
    CELL,
    cells_frame,
    change_text,
    has_baseline,
    heat_of,
    records,
    runs_frame,
    where,
)
from lossmeter.report.matrix_table import legend
from lossmeter.report.recorded import JudgedRun
from lossmeter.report.run_view import MARKS, classes_grid

# Shown on top of a cell, or in a table of their own.
_NOT_BESIDE = {"lost", "throughput_per_s", "latency_p99_ms"}
# On this scale 1 ms is cold and 10 s is as hot as it gets.
_COLD_MS, _HOT_MS = 1.0, 10_000.0
NO_RUN = "no run"


@dataclass(frozen=True, slots=True)
class MatrixLine:
    """A line of a cell: a metric, its value, and how it changed."""

    name: str
    value: str
    change: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One cell of a heat map; ``heat`` from 0 to 1."""

    head: MatrixLine
    lines: tuple[MatrixLine, ...]
    heat: float
    verdict: str = ""
    mark: str = ""
    runs: int = 0


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row of a heat map; where there is no run, why."""

    name: str
    cells: tuple[HeatCell | str, ...]


def matrix_page(
    runs: Sequence[JudgedRun],
    baseline: Sequence[JudgedRun] = (),
    capacities: Mapping[tuple[str, str], RecordedCapacity] | None = None,
    layout: Layout = PLAIN,
) -> str:
    """Return the page of a whole matrix of experiments and targets."""
    before = runs_frame(baseline) if baseline else None
    cells = cells_frame(runs_frame(runs), before)
    return render("matrix.html.j2", matrix_view(runs, cells, capacities or {}, layout))


def matrix_view(
    runs: Sequence[JudgedRun],
    cells: pd.DataFrame,
    capacities: Mapping[tuple[str, str], RecordedCapacity],
    layout: Layout = PLAIN,
) -> dict[str, object]:
    """Return the variables of the template ``matrix.html.j2``."""
    found = tiers(cells)
    shown = layout.without_remedies(beside_rates(cells))
    targets = layout.columns(shown, list(where(shown)))
    counted = runs_frame(runs)["verdict"].value_counts()
    return {
        "title": _title(cells),
        "counted": ", ".join(f"{n} {verdict}" for verdict, n in counted.items()),
        "targets": targets,
        "rows": _heat(shown, targets, layout),
        "figures": "Range" if layout.whole else "Median of the repeats, with their range",
        "remedies": remedies_grid(cells, layout),
        "rate_targets": list(dict.fromkeys(tier.target for tier in found)),
        "rates": _rates(found),
        "sustained": sustained(cells, capacities),
        "advice": _advice(advise(cells)),
        "classes": classes_grid(),
        "legend": legend(cells) if has_baseline(cells) else "",
        "about": about(runs),
    }


def _title(cells: pd.DataFrame) -> str:
    experiments, targets, runtimes = (cells[name].nunique() for name in CELL)
    reported = f"{plural(experiments, 'experiment')} on {plural(targets, 'target')}"
    return reported if runtimes == 1 else f"{reported}, {plural(runtimes, 'runtime')}"


def _heat(cells: pd.DataFrame, targets: Sequence[str], layout: Layout) -> list[HeatRow]:
    named = cells.assign(where=where(cells))
    rows = []
    for experiment in layout.rows(named):
        found = records(named[named["experiment"] == experiment])
        by_target = {str(row["where"]): row for row in found}
        rows.append(
            HeatRow(
                experiment,
                tuple(
                    _cell(by_target[target], layout)
                    if target in by_target
                    else layout.why(experiment, target) or NO_RUN
                    for target in targets
                ),
            )
        )
    return rows


def _cell(row: Mapping[str, object], layout: Layout) -> HeatCell:
    verdict = Verdict(str(row["verdict"]))
    return HeatCell(
        head=_line(row, "lost", layout),
        lines=tuple(line for k in _beside(row) if (line := _line(row, k, layout)).value != "–"),
        heat=heat_of(float(str(row["lost"])), float(str(row["acked"]))),
        verdict=str(verdict),
        mark=MARKS[verdict],
        runs=int(str(row["runs"])),
    )


def _beside(row: Mapping[str, object]) -> list[str]:
    """Return the metrics of a cell that are not 0, or that changed."""
    keys = [key for key in BY_KEY if key in row and key not in _NOT_BESIDE]
    return [
        key
        for key in keys
        if float(str(row[f"{key}_max"])) > 0 or float(str(row.get(f"{key}_baseline", 0))) > 0
    ]


def _advice(given: Sequence[Advice]) -> Grid[Advice]:
    return Grid(
        "Measured, beside what the analysis recommends",
        (
            Column("rate", lambda each: f"{each.rate_per_s:,.0f}/s", words=True),
            Column("kept by", lambda each: ", ".join(each.kept) or "none", words=True),
            Column(
                "suits best", lambda each: TableLine(each.suits or "none", "strong"), words=True
            ),
            Column("because", lambda each: each.why, words=True),
            Column("recommended", lambda each: each.recommended, words=True),
        ),
        given,
    )


def _line(row: Mapping[str, object], key: str, layout: Layout) -> MatrixLine:
    metric = BY_KEY[key]
    changed = str(row.get(f"{key}_change", ""))
    kind = changed if changed in {Change.BETTER, Change.WORSE} else ""
    return MatrixLine(metric.name, layout.show(row, metric), change_text(row, metric), kind)


def _rates(found: Sequence[Tier]) -> list[HeatRow]:
    targets = list(dict.fromkeys(tier.target for tier in found))
    rows = []
    for rate_per_s in dict.fromkeys(tier.rate_per_s for tier in found):
        at = {tier.target: tier for tier in found if tier.rate_per_s == rate_per_s}
        rows.append(
            HeatRow(f"{rate_per_s:,.0f}/s", tuple(_tier(at.get(target)) for target in targets))
        )
    return rows


def _tier(tier: Tier | None) -> HeatCell | str:
    if tier is None:
        return NO_RUN
    p99_ms = tier.p99_ms
    heat = 0.0
    if not math.isnan(p99_ms):
        heat = math.log(max(p99_ms, _COLD_MS) / _COLD_MS) / math.log(_HOT_MS / _COLD_MS)
    kept = MatrixLine("rate", "kept") if tier.kept else MatrixLine("not kept", tier.why_not)
    return HeatCell(
        head=MatrixLine("persisted", tier.throughput),
        lines=(MatrixLine("p99", tier.p99), kept),
        heat=round(min(1.0, heat), 3),
    )


def about(runs: Sequence[JudgedRun]) -> list[tuple[str, str]]:
    """Return where and with what the runs were made; each thing once, all its values."""
    seen: dict[str, dict[str, None]] = {}

    def note(name: str, value: object) -> None:
        seen.setdefault(name, {})[str(value)] = None

    beside = any(run.at_once > 1 for run in runs)
    for run in runs:
        note("runtime", run.result.runtime)
        if beside:
            note("made", f"up to {run.at_once} at once" if run.at_once > 1 else "alone")
        note("seed", run.result.seed)
        for name, value in run.environment.machine.items():
            note(name.replace("_", " "), value)
        for name, value in run.environment.servers.items():
            note(name, value)
        if run.environment.commit is not None:
            note("commit", run.environment.commit)
        if (before := run.environment.servers_served_before) is not None:
            note("servers", "kept from another run and emptied" if before else "new")
        for name in ("lossmeter", "locust", "numpy"):
            if name in run.environment.packages:
                note(name, run.environment.packages[name])
    return [(name, ", ".join(values)) for name, values in seen.items()]
