"""The matrix as Markdown: a table for each metric, experiments down, targets across."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from lossmeter.model import Verdict
from lossmeter.plan.remedies import Place
from lossmeter.report._layout import markdown_table
from lossmeter.report._markup import markdown_cell
from lossmeter.report.backends import UNKNOWN, Tier, beside_rates, tiers
from lossmeter.report.dense import NOT_MEASURED, PLAIN, Layout
from lossmeter.report.matrix import (
    BY_KEY,
    Metric,
    change_text,
    has_baseline,
    metrics_in,
    records,
    where,
)
from lossmeter.report.matrix_table import legend

# Throughput and latency are shown by rate.
_BY_RATE = {"throughput_per_s", "latency_p99_ms"}


def matrix_markdown(cells: pd.DataFrame) -> str:
    """Return all tables of the matrix."""
    parts = list(metric_tables(cells))
    if found := tiers(cells):
        parts.append(rates_table(found))
    elif cells["throughput_per_s"].notna().any():
        parts += [_metric_table(cells, BY_KEY[key]) for key in _BY_RATE]
    if "sustained" in cells and (cells["sustained"] != UNKNOWN).any():
        parts.append(sustained_table(dict(zip(where(cells), cells["sustained"], strict=True))))
    if has_baseline(cells):
        parts.append(legend(cells))
    return "\n\n".join(parts) + "\n"


def metric_tables(cells: pd.DataFrame, layout: Layout = PLAIN) -> Iterator[str]:
    """Yield a table for each metric that is not one of the rates, without the remedies."""
    besides = beside_rates(cells)
    shown = layout.without_remedies(besides)
    for metric in metrics_in(cells):
        if metric.key not in _BY_RATE:
            yield _metric_table(shown, metric, layout)


def _metric_table(cells: pd.DataFrame, metric: Metric, layout: Layout = PLAIN) -> str:
    """Return one metric of every cell; a verdict other than pass is named beside it."""
    named = cells.assign(where=where(cells))
    targets = layout.columns(named, list(named["where"]))
    rows = []
    for experiment in layout.rows(named):
        group = named[named["experiment"] == experiment]
        if metric.rare and not (group[f"{metric.key}_max"] > 0).any():
            continue
        by_target = {str(row["where"]): row for row in records(group)}
        shown = [_cell(by_target.get(t), (experiment, t), metric, layout) for t in targets]
        rows.append([markdown_cell(experiment), *shown])
    heads = ["experiment", *(markdown_cell(target) for target in targets)]
    return f"**{metric.name.capitalize()}**\n\n{table(heads, rows)}"


def _cell(row: dict[str, object] | None, place: Place, metric: Metric, layout: Layout) -> str:
    if row is None:
        why = layout.why(*place)
        return f"*{markdown_cell(why)}*" if why else ""
    verdict = str(row["verdict"])
    if verdict in {Verdict.ERROR, Verdict.INCONCLUSIVE} and not row["judged"]:
        return f"*{verdict}*"
    reported = [markdown_cell(layout.show(row, metric))]
    if changed := change_text(row, metric):
        reported.append(f"*{markdown_cell(changed)}*")
    if verdict != Verdict.PASS and metric.key == "lost":
        reported.append(f"*{verdict}*")
    return "<br>".join(reported)


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
        return f"*{NOT_MEASURED}*"
    reported = [markdown_cell(tier.throughput), markdown_cell(tier.p99)]
    if not tier.kept:
        reported.append(f"*not kept: {markdown_cell(tier.why_not)}*")
    return "<br>".join(reported)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of names and figures; the cells are Markdown already."""
    return markdown_table(heads, rows, [place > 0 for place in range(len(heads))])
