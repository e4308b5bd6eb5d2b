"""Many judged runs as frames: one row a run, one row a cell of experiment × target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pandas as pd

from lossmeter.model import Counts, Verdict
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report.change import Change, Side, change
from lossmeter.report.recorded import JudgedRun

CELL = ["experiment", "target", "runtime"]
# The gravest verdict of a cell's runs stands for the cell.
GRAVITY = (Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.PASS)


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure by which cells are compared.

    Attributes:
        read: takes it off a result; None where it was not measured.
        rare: it is left out where no run shows any.
    """

    key: str
    name: str
    read: Callable[[Result], float | None]
    show: Callable[[float | None], str]
    higher_is_better: bool = False
    rare: bool = False


def _share(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else words.percent(value, 1)


def _throughput(result: Result) -> float | None:
    return result.load.persisted_per_s if result.load else None


def _class(name: str) -> Metric:
    rare = name not in {"lost", "duplicated", "refused"}
    read = attrgetter(f"counts.{name}")
    return Metric(name, words.measure_name(name), read, words.count, rare=rare)


# Classes that are no cost, or that the others follow from.
_NO_COST = ("sent", "acked", "unknown", "delivered", "lost", "duplicated", "refused")
METRICS: tuple[Metric, ...] = (
    _class("lost"),
    Metric("worst_case", "worst case", lambda r: r.worst_case_ratio, _share),
    _class("duplicated"),
    _class("refused"),
    Metric("recovery_s", "recovery", lambda r: r.recovery_s, words.seconds),
    Metric("throughput_per_s", "throughput", _throughput, words.rate, higher_is_better=True),
    Metric(
        "latency_p99_ms",
        "p99",
        lambda r: r.load.latency_p99_ms if r.load else None,
        words.milliseconds,
    ),
    *(_class(name) for name in Counts().as_dict() if name not in _NO_COST),
)
BY_KEY: Mapping[str, Metric] = {metric.key: metric for metric in METRICS}


def metrics_in(cells: pd.DataFrame) -> list[Metric]:
    """Return the metrics that cells have."""
    return [metric for metric in METRICS if metric.key in cells.columns]


def runs_frame(runs: Sequence[JudgedRun]) -> pd.DataFrame:
    """Return one row for each run, in the order given.

    A figure is NaN where it was not measured, and in runs that were not judged: those say
    nothing about their target.
    """
    rows = []
    for run in runs:
        result = run.result
        judged = result.verdict.judged
        rows.append(
            {
                "experiment": result.experiment,
                "target": result.target,
                "runtime": result.runtime,
                "run_id": result.run_id,
                "seed": result.seed,
                "verdict": str(result.verdict),
                "judged": judged,
                "rate_asked_per_s": result.load.rate_asked_per_s if result.load else np.nan,
                "sent": result.counts.sent,
                "acked": result.counts.acked,
                **{m.key: _measured(m, result) if judged else np.nan for m in METRICS},
            }
        )
    return pd.DataFrame(rows)


def _measured(metric: Metric, result: Result) -> float:
    value = None if metric.key in result.not_measured else metric.read(result)
    return np.nan if value is None else float(value)


def cells_frame(runs: pd.DataFrame, baseline: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row for each cell, in the order in which cells first come.

    Columns: ``CELL``, ``runs``, ``judged``, ``verdict``, ``acked`` (median), ``rate_asked_per_s``
    and of each metric ``KEY`` (median), ``KEY_min`` and ``KEY_max``. With a baseline also
    ``KEY_baseline`` (its median), ``KEY_low`` and ``KEY_high`` (interval of the difference)
    and ``KEY_change``. A rare metric of which no run shows any has no columns.
    """
    every = runs if baseline is None else pd.concat([runs, baseline])
    metrics = [metric for metric in METRICS if not metric.rare or every[metric.key].gt(0).any()]
    rows = []
    before = {} if baseline is None else dict(iter(baseline.groupby(CELL, sort=False)))
    for cell, group in runs.groupby(CELL, sort=False):
        row = _summary(cell, group, metrics)
        if baseline is not None:
            row |= _changes(group, before.get(cell), metrics)
        rows.append(row)
    return pd.DataFrame(rows)


def _summary(cell: object, group: pd.DataFrame, metrics: Sequence[Metric]) -> dict[str, object]:
    names = dict(zip(CELL, cell if isinstance(cell, tuple) else (cell,), strict=True))
    verdicts = [Verdict(verdict) for verdict in group["verdict"]]
    row: dict[str, object] = {
        **names,
        "runs": len(group),
        "judged": int(group["judged"].sum()),
        "verdict": str(min(verdicts, key=GRAVITY.index)),
        "acked": float(group["acked"].median()),
        "rate_asked_per_s": float(group["rate_asked_per_s"].median()),
    }
    for metric in metrics:
        values = group[metric.key].dropna()
        row[metric.key] = float(values.median()) if len(values) else np.nan
        row[f"{metric.key}_min"] = float(values.min()) if len(values) else np.nan
        row[f"{metric.key}_max"] = float(values.max()) if len(values) else np.nan
    return row


def _changes(
    group: pd.DataFrame, before: pd.DataFrame | None, metrics: Sequence[Metric]
) -> dict[str, object]:
    row: dict[str, object] = {}
    for metric in metrics:
        mine = group[metric.key].dropna().to_numpy(np.float64)
        theirs = np.empty(0) if before is None else before[metric.key].dropna().to_numpy(np.float64)
        seen = change(Side(mine, theirs), higher_is_better=metric.higher_is_better)
        row[f"{metric.key}_baseline"] = float(np.median(theirs)) if len(theirs) else np.nan
        row[f"{metric.key}_low"] = seen.low
        row[f"{metric.key}_high"] = seen.high
        row[f"{metric.key}_change"] = str(seen.change)
    return row


def cell_text(row: Mapping[str, object], metric: Metric) -> str:
    """Return a metric of a cell: the median, and the range where repeats differ."""
    low, middle, high = (float(str(row[f"{metric.key}{part}"])) for part in ("_min", "", "_max"))
    if np.isnan(middle):
        return "–"
    if low == high or metric.show(low) == metric.show(high):
        return metric.show(middle)
    return f"{metric.show(middle)} ({metric.show(low)} to {metric.show(high)})"


def span_text(row: Mapping[str, object], metric: Metric) -> str:
    """Return a metric of a cell as the range of its repeats, e.g. ``0–5``; one where all agree."""
    low, high = (float(str(row[f"{metric.key}{part}"])) for part in ("_min", "_max"))
    return "–" if np.isnan(low) else words.span(metric.show(low), metric.show(high))


def heat_of(gone: float, acked: float) -> float:
    """Return how red a cell is, from 0 to 1, by the share of the acked events that are gone.

    Args:
        gone: NaN where it was not measured.
        acked: events.
    """
    if not acked or math.isnan(gone):
        return 0.0
    # A root, since a loss of 1 % matters and would not be seen beside one of 60 %.
    return round(min(1.0, math.sqrt(gone / acked)), 3)


def change_text(row: Mapping[str, object], metric: Metric) -> str:
    """Return how a metric changed against the baseline; empty where that says nothing."""
    changed = row.get(f"{metric.key}_change")
    if changed is None or changed == Change.ABSENT:
        return ""
    was = metric.show(float(str(row[f"{metric.key}_baseline"])))
    if was == cell_text(row, metric):
        return ""
    return f"{changed}, was {was}"


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a frame."""
    return [{str(name): row[name] for name in row} for row in frame.to_dict("records")]


def has_baseline(cells: pd.DataFrame) -> bool:
    """Return whether the cells were compared with a baseline."""
    return f"{METRICS[0].key}_change" in cells.columns


def where(cells: pd.DataFrame) -> pd.Series[str]:
    """Return the column heads of cells: the target, with its runtime where there are several."""
    if cells["runtime"].nunique() < 2:
        return cells["target"]
    return cells["target"] + " (" + cells["runtime"] + ")"
