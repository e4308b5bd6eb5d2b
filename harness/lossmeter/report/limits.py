"""What limits each target at the rates: who used the CPUs while the load ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from lossmeter.model import IDLE, OTHERS
from lossmeter.report._markup import markdown_cell
from lossmeter.report.backends import Tier
from lossmeter.report.capacity import RATES
from lossmeter.report.matrix_markdown import table
from lossmeter.report.recorded import JudgedRun

# A part that is busy for so much of a CPU does on one what it cannot share; fewer idle CPUs are
# none, as two that share one core's units never are.
_ONE_CPU, _NONE_IDLE = 0.9, 0.1
# With more than that used by somebody else, nothing is said of the target.
_OTHERS = 0.25

Cpus = Mapping[str, float]


def limit(cpus: Cpus) -> str:
    """Return what limits a target by who used the CPUs, in words."""
    if (others := cpus.get(OTHERS, 0.0)) > _OTHERS:
        return f"not known: what is not of the run used {others:.2f} CPUs"
    idle, busy = cpus.get(IDLE, 0.0), {n: used for n, used in cpus.items() if n != IDLE}
    if idle <= _NONE_IDLE * sum(cpus.values()):
        return "the CPUs: none was idle"
    name, most = max(busy.items(), key=lambda item: item[1], default=("", 0.0))
    if most >= _ONE_CPU and name == "target":
        return "the target's process: it keeps one CPU busy"
    return f"no CPU: {idle:.2f} of them were idle"


def limits_table(runs: Sequence[JudgedRun], found: Sequence[Tier]) -> str:
    """Return what each target was limited by; empty where no run shows it."""
    shown = [(tier, cpus) for tier in _telling(found) if (cpus := _cpus(runs, tier))]
    names = list(dict.fromkeys(name for _, cpus in shown for name in cpus))
    # What nobody used stands last, as in the words for one run.
    names.sort(key=lambda name: name == IDLE)
    rows = []
    for tier, cpus in shown:
        used = [f"{cpus[name]:.2f}" if name in cpus else "" for name in names]
        why = "–" if tier.kept else limit(cpus)
        rows.append([markdown_cell(tier.target), f"{tier.rate_per_s:,.0f}/s", *used, why])
    heads = ["backend", "at", *map(markdown_cell, names), "limited by"]
    return f"**CPUs used, and what limits**\n\n{table(heads, rows)}" if rows else ""


def _telling(found: Sequence[Tier]) -> list[Tier]:
    """Return of each target the lowest rate that it does not keep, else the highest of all."""
    telling = []
    for target in dict.fromkeys(tier.target for tier in found):
        mine = sorted((t for t in found if t.target == target), key=lambda tier: tier.rate_per_s)
        telling.append(next((tier for tier in mine if not tier.kept), mine[-1]))
    return telling


def _cpus(runs: Sequence[JudgedRun], tier: Tier) -> Cpus:
    """Return the medians over the repeats of one target at one rate."""
    every = [
        run.result.load.cpus
        for run in runs
        if run.result.load is not None
        and run.result.target == tier.target
        and run.result.experiment == f"{RATES}-{tier.rate_per_s:.0f}"
        and run.result.load.cpus
    ]
    names = dict.fromkeys(name for each in every for name in each)
    return {name: median(each.get(name, 0.0) for each in every) for name in names}
