"""What the page of a matrix says: heat maps of experiments and targets, and of rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.model import Verdict
from harness.report import words
from harness.report.backends import Tier, advise, beside_rates, sustained, tiers
from harness.report.capacity import Capacity
from harness.report.change import Change
from harness.report.matrix import (
    BY_KEY,
    CELL,
    cell_text,
    change_text,
    has_baseline,
    records,
    runs_frame,
    where,
)
from harness.report.matrix_table import legend
from harness.report.recorded import JudgedRun
from harness.report.run_view import MARKS

_BESIDE = ("worst_case", "duplicated", "refused", "recovery_s")
# On this scale 1 ms is cold and 10 s is as hot as it gets.
_COLD_MS, _HOT_MS = 1.0, 10_000.0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a cell: a metric, its value, and how it changed."""

    name: str
    value: str
    change: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One cell of a heat map; ``heat`` from 0 to 1."""

    head: Line
    lines: tuple[Line, ...]
    heat: float
    verdict: str = ""
    mark: str = ""
    runs: int = 0


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row of a heat map; None where there is no run."""

    name: str
    cells: tuple[HeatCell | None, ...]


def matrix_view(
    runs: Sequence[JudgedRun], cells: pd.DataFrame, capacities: Mapping[tuple[str, str], Capacity]
) -> dict[str, object]:
    """Return the variables of the template ``matrix.html.j2``."""
    found = tiers(cells)
    targets = list(dict.fromkeys(where(cells)))
    counted = runs_frame(runs)["verdict"].value_counts()
    return {
        "title": _title(cells),
        "counted": ", ".join(f"{n} {verdict}" for verdict, n in counted.items()),
        "targets": targets,
        "rows": _heat(beside_rates(cells), targets),
        "rate_targets": list(dict.fromkeys(tier.target for tier in found)),
        "rates": _rates(found),
        "sustained": sustained(cells, capacities),
        "advice": advise(cells),
        "legend": legend(cells) if has_baseline(cells) else "",
        "about": about(runs),
    }


def _title(cells: pd.DataFrame) -> str:
    experiments, targets, runtimes = (cells[name].nunique() for name in CELL)
    told = f"{words.plural(experiments, 'experiment')} on {words.plural(targets, 'target')}"
    return told if runtimes == 1 else f"{told}, {words.plural(runtimes, 'runtime')}"


def _heat(cells: pd.DataFrame, targets: Sequence[str]) -> list[HeatRow]:
    rows = []
    for experiment, group in cells.assign(where=where(cells)).groupby("experiment", sort=False):
        by_target = {str(row["where"]): row for row in records(group)}
        rows.append(
            HeatRow(str(experiment), tuple(_cell(by_target.get(target)) for target in targets))
        )
    return rows


def _cell(row: Mapping[str, object] | None) -> HeatCell | None:
    if row is None:
        return None
    verdict = Verdict(str(row["verdict"]))
    lost, acked = float(str(row["lost"])), float(str(row["acked"]))
    # A root, since a loss of 1 % matters and would not be seen beside one of 60 %.
    heat = math.sqrt(lost / acked) if acked and not math.isnan(lost) else 0.0
    return HeatCell(
        head=_line(row, "lost"),
        lines=tuple(line for key in _BESIDE if (line := _line(row, key)).value != "–"),
        heat=round(min(1.0, heat), 3),
        verdict=str(verdict),
        mark=MARKS[verdict],
        runs=int(str(row["runs"])),
    )


def _line(row: Mapping[str, object], key: str) -> Line:
    metric = BY_KEY[key]
    changed = str(row.get(f"{key}_change", ""))
    kind = changed if changed in {Change.BETTER, Change.WORSE} else ""
    return Line(metric.name, cell_text(row, metric), change_text(row, metric), kind)


def _rates(found: Sequence[Tier]) -> list[HeatRow]:
    targets = list(dict.fromkeys(tier.target for tier in found))
    rows = []
    for rate_per_s in dict.fromkeys(tier.rate_per_s for tier in found):
        at = {tier.target: tier for tier in found if tier.rate_per_s == rate_per_s}
        rows.append(
            HeatRow(f"{rate_per_s:,.0f}/s", tuple(_tier(at.get(target)) for target in targets))
        )
    return rows


def _tier(tier: Tier | None) -> HeatCell | None:
    if tier is None:
        return None
    p99_ms = tier.p99_ms
    heat = 0.0
    if not math.isnan(p99_ms):
        heat = math.log(max(p99_ms, _COLD_MS) / _COLD_MS) / math.log(_HOT_MS / _COLD_MS)
    throughput = BY_KEY["throughput_per_s"].show(tier.throughput_per_s)
    kept = Line("rate", "kept") if tier.kept else Line("not kept", tier.why_not)
    return HeatCell(
        head=Line("persisted", throughput),
        lines=(Line("p99", words.milliseconds(p99_ms)), kept),
        heat=round(min(1.0, heat), 3),
    )


def about(runs: Sequence[JudgedRun]) -> list[tuple[str, str]]:
    """Return where and with what the runs were made; each thing once, all its values."""
    seen: dict[str, dict[str, None]] = {}

    def note(name: str, value: object) -> None:
        seen.setdefault(name, {})[str(value)] = None

    for run in runs:
        note("runtime", run.result.runtime)
        note("seed", run.result.seed)
        for name, value in run.environment.machine.items():
            note(name.replace("_", " "), value)
        for name, value in run.environment.servers.items():
            note(name, value)
        if (before := run.environment.servers_served_before) is not None:
            note("servers", "kept from another run and emptied" if before else "new")
        for name in ("lossmeter", "locust", "numpy"):
            if name in run.environment.packages:
                note(name, run.environment.packages[name])
    return [(name, ", ".join(values)) for name, values in seen.items()]
