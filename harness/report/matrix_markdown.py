"""The matrix as Markdown: a table for each metric, experiments down, targets across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from harness.model import Verdict
from harness.report._markup import markdown_cell
from harness.report.backends import UNKNOWN, Tier, beside_rates, tiers
from harness.report.matrix import (
    METRICS,
    Metric,
    cell_text,
    change_text,
    has_baseline,
    records,
    where,
)
from harness.report.matrix_table import legend

# Throughput and latency are shown by rate.
BY_EXPERIMENT = METRICS[:5]


def matrix_markdown(cells: pd.DataFrame) -> str:
    """Return all tables of the matrix."""
    parts = [metric_table(beside_rates(cells), metric) for metric in BY_EXPERIMENT]
    if found := tiers(cells):
        parts.append(rates_table(found))
    elif cells["throughput_per_s"].notna().any():
        parts += [metric_table(cells, metric) for metric in METRICS[5:]]
    if "sustained" in cells and (cells["sustained"] != UNKNOWN).any():
        parts.append(sustained_table(dict(zip(where(cells), cells["sustained"], strict=True))))
    if has_baseline(cells):
        parts.append(legend(cells))
    return "\n\n".join(parts) + "\n"


def metric_table(cells: pd.DataFrame, metric: Metric) -> str:
    """Return one metric of every cell; a verdict other than pass is named beside it."""
    named = cells.assign(where=where(cells))
    targets = list(dict.fromkeys(named["where"]))
    rows = []
    for experiment, group in named.groupby("experiment", sort=False):
        by_target = {row["where"]: row for row in records(group)}
        shown = [_cell(by_target.get(target), metric) for target in targets]
        rows.append([markdown_cell(str(experiment)), *shown])
    heads = ["experiment", *(markdown_cell(target) for target in targets)]
    return f"**{metric.name.capitalize()}**\n\n{table(heads, rows)}"


def _cell(row: dict[str, object] | None, metric: Metric) -> str:
    if row is None:
        return ""
    verdict = str(row["verdict"])
    if verdict in {Verdict.ERROR, Verdict.INCONCLUSIVE} and not row["judged"]:
        return f"*{verdict}*"
    told = [markdown_cell(cell_text(row, metric))]
    if changed := change_text(row, metric):
        told.append(f"*{markdown_cell(changed)}*")
    if verdict != Verdict.PASS and metric is METRICS[0]:
        told.append(f"*{verdict}*")
    return "<br>".join(told)


def rates_table(found: Sequence[Tier]) -> str:
    """Return throughput and p99 of each target at each rate."""
    targets = list(dict.fromkeys(tier.target for tier in found))
    rows = []
    for rate_per_s in dict.fromkeys(tier.rate_per_s for tier in found):
        at = {tier.target: tier for tier in found if tier.rate_per_s == rate_per_s}
        rows.append([f"{rate_per_s:,.0f}/s", *(_tier(at.get(target)) for target in targets)])
    heads = ["asked", *(markdown_cell(target) for target in targets)]
    return f"**Throughput and p99 by rate**\n\n{table(heads, rows)}"


def sustained_table(rates: Mapping[str, str]) -> str:
    """Return the highest rate that each target sustains."""
    rows = [[markdown_cell(target), markdown_cell(rate)] for target, rate in rates.items()]
    return f"**Highest rate sustained**\n\n{table(['target', 'events'], rows)}"


def _tier(tier: Tier | None) -> str:
    if tier is None:
        return ""
    by_key = {metric.key: metric for metric in METRICS}
    told = [
        by_key["throughput_per_s"].show(tier.throughput_per_s),
        by_key["latency_p99_ms"].show(tier.p99_ms),
    ]
    if not tier.kept:
        told.append(f"*not kept: {markdown_cell(tier.why_not)}*")
    return "<br>".join(told)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the cells are Markdown already."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
