"""Which target suits which rate: drawn from measured runs, beside what is recommended.

A target keeps a rate when every run at it passed, nothing was refused, rows came out as
fast as events were due, and the producers' p99 stayed below the analysis' own alert bound.
Of those that keep a rate, the one suits that lost least in the experiments with a fault; of
equals, the one with the lowest p99.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lossmeter.model import Verdict, plural, without_numbers
from lossmeter.plan.predict.queue import recommended_backend
from lossmeter.report import words
from lossmeter.report.capacity import EQUAL_RATES, RATES, RecordedCapacity
from lossmeter.report.matrix import BY_KEY, has_baseline, records, span_text, where

_WITHOUT_FAULT = (RATES, EQUAL_RATES, "control")
KEPT_SHARE = 0.97
P99_BOUND_MS = 1000.0
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Tier:
    """One target at one rate.

    Attributes:
        throughput_per_s, p99_ms: medians of the repeats; NaN where they were not measured.
        throughput, p99: the ranges of the repeats, in words.
        why_not: why it does not keep the rate; empty when it does.
    """

    rate_per_s: float
    target: str
    throughput_per_s: float
    p99_ms: float
    why_not: str
    throughput: str
    p99: str

    @property
    def kept(self) -> bool:
        """Return whether the target keeps the rate."""
        return not self.why_not


@dataclass(frozen=True, slots=True)
class Advice:
    """What suits a rate.

    Attributes:
        suits: the one that does so and loses least; None when none keeps it.
        fastest: the one of those that keep it with the lowest p99, whatever it loses.
        faster: that one with its numbers.
    """

    rate_per_s: float
    kept: tuple[str, ...]
    suits: str | None
    why: str
    recommended: str
    fastest: str | None = None
    faster: str = ""


def tiers(cells: pd.DataFrame, of: str = RATES) -> list[Tier]:
    """Return every target at every rate that was tried, by rising rate."""
    named = cells.assign(where=where(cells))
    rates = named[_is_of(named["experiment"], of) & named["rate_asked_per_s"].notna()]
    found = [
        Tier(
            float(str(row["rate_asked_per_s"])),
            str(row["where"]),
            float(str(row["throughput_per_s"])),
            float(str(row["latency_p99_ms"])),
            _why_not(row),
            span_text(row, BY_KEY["throughput_per_s"]),
            span_text(row, BY_KEY["latency_p99_ms"]),
        )
        for row in records(rates)
    ]
    return sorted(found, key=lambda tier: tier.rate_per_s)


def beside_rates(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells without the rates, which have a table of their own.

    With a baseline, and where there is nothing else, all cells are returned.
    """
    others = cells[~_is_of(cells["experiment"], RATES, EQUAL_RATES)]
    return cells if has_baseline(cells) or others.empty else others


def _is_of(experiments: pd.Series[str], *names: str) -> pd.Series[bool]:
    """Return which cells are of an experiment or one of its variants, with their own numbers."""
    return _own_numbers(experiments) & experiments.map(
        lambda cell: any(cell == n or cell.startswith(f"{n}-") for n in names)
    )


def _own_numbers(experiments: pd.Series[str]) -> pd.Series[bool]:
    return experiments.map(lambda cell: cell == without_numbers(cell))


def _why_not(row: Mapping[str, object]) -> str:
    """Return why a rate is not kept, by the worst of the repeats; empty when it is."""
    if str(row["verdict"]) != str(Verdict.PASS):
        return str(row["verdict"])
    refused, least_per_s, most_ms, asked_per_s = (
        float(str(row[name]))
        for name in (
            "refused_max",
            "throughput_per_s_min",
            "latency_p99_ms_max",
            "rate_asked_per_s",
        )
    )
    if refused > 0:
        return f"{words.count(refused)} refused"
    if not least_per_s >= KEPT_SHARE * asked_per_s:
        return f"{words.rate(least_per_s)} persisted"
    if not most_ms <= P99_BOUND_MS:
        return f"p99 {words.milliseconds(most_ms)}"
    return ""


@dataclass(frozen=True, slots=True)
class Sustained:
    """The highest rate that a target sustains: measured, or the highest tried that it kept.

    Attributes:
        rate_per_s: NaN where it kept none of those tried.
        words: the same as people read it, with how sure it is.
    """

    rate_per_s: float
    words: str


def sustained(
    cells: pd.DataFrame, capacities: Mapping[tuple[str, str], RecordedCapacity]
) -> dict[str, str]:
    """Return the highest rate each target sustains, in words."""
    return {target: each.words for target, each in _sustained(cells, capacities).items()}


def with_sustained(
    cells: pd.DataFrame, capacities: Mapping[tuple[str, str], RecordedCapacity]
) -> pd.DataFrame:
    """Return the cells with the columns ``sustained_per_s`` and ``sustained``, its words.

    Both are of the target, so they are the same for each of its cells.
    """
    found, places = _sustained(cells, capacities), where(cells)
    unknown = Sustained(np.nan, UNKNOWN)
    each = [found.get(str(place), unknown) for place in places]
    return cells.assign(
        sustained_per_s=[one.rate_per_s for one in each], sustained=[one.words for one in each]
    )


def _sustained(
    cells: pd.DataFrame, capacities: Mapping[tuple[str, str], RecordedCapacity]
) -> dict[str, Sustained]:
    found = tiers(cells)
    named = cells.assign(where=where(cells))
    reported = {}
    for target, group in named.groupby("where", sort=False):
        mine = [tier for tier in found if tier.target == target]
        measured = capacities.get((str(group["target"].iloc[0]), str(group["runtime"].iloc[0])))
        if measured is not None and measured.sustained_per_s is not None:
            rate_per_s = measured.sustained_per_s
            reported[str(target)] = Sustained(rate_per_s, words.rate(rate_per_s, "down"))
        elif mine:
            reported[str(target)] = _highest_kept(mine)
    return reported


def _highest_kept(mine: Sequence[Tier]) -> Sustained:
    kept = [tier.rate_per_s for tier in mine if tier.kept]
    tried = [tier.rate_per_s for tier in mine]
    if not kept:
        return Sustained(np.nan, f"below {words.rate(min(tried), 'up')}")
    least = "at least " if max(kept) == max(tried) else ""
    return Sustained(max(kept), f"{least}{words.rate(max(kept), 'down')}")


def worst_losses(cells: pd.DataFrame) -> dict[str, float]:
    """Return the most events that each target lost in the faults that all of them met.

    Compared are the targets that were tried at some rate; where no rate was tried, all. Only
    experiments that were judged on each of them count, so that nobody looks better for having
    been spared; and of several targets one must have lost nothing there. What all lose alike,
    as while the database is away, is their handler's doing and tells none from another.
    Empty when there is none.
    """
    named = cells.assign(where=where(cells))
    if rated := {tier.target for tier in tiers(cells)}:
        named = named[named["where"].isin(rated)]
    named = named[_own_numbers(named["experiment"])]
    faults = named[~_is_of(named["experiment"], *_WITHOUT_FAULT)]
    lost = faults.pivot_table(
        index="experiment", columns="where", values="lost_max", aggfunc="max", dropna=False
    )
    shared = lost.dropna(axis="index")
    if shared.shape[1] > 1:
        shared = shared[shared.min(axis="columns") == 0]
    return {str(target): float(shared[target].max()) for target in shared} if len(shared) else {}


def advise(cells: pd.DataFrame) -> list[Advice]:
    """Return what suits each rate that was tried."""
    found, losses = tiers(cells), worst_losses(cells)
    return [
        _advice(rate_per_s, [tier for tier in found if tier.rate_per_s == rate_per_s], losses)
        for rate_per_s in dict.fromkeys(tier.rate_per_s for tier in found)
    ]


def _advice(rate_per_s: float, at: Sequence[Tier], losses: Mapping[str, float]) -> Advice:
    recommended = recommended_backend(rate_per_s)
    kept = [tier for tier in at if tier.kept]
    names = tuple(tier.target for tier in kept)
    if not kept:
        return Advice(rate_per_s, names, None, "none keeps this rate", recommended)
    best = min(kept, key=lambda tier: (losses.get(tier.target, np.inf), tier.p99_ms))
    fastest = min(kept, key=lambda tier: tier.p99_ms)
    reported = f"{fastest.target} is fastest (p99 {words.milliseconds(fastest.p99_ms)})"
    return Advice(
        rate_per_s,
        names,
        best.target,
        f"{_loss(best.target, losses)}, p99 {words.milliseconds(best.p99_ms)}",
        recommended,
        fastest.target,
        f"{reported}: {_loss(fastest.target, losses)}",
    )


def _loss(target: str, losses: Mapping[str, float]) -> str:
    if target not in losses:
        return "no experiment with a fault was judged on all targets"
    return f"{plural(round(losses[target]), 'event')} lost at worst under a fault"
