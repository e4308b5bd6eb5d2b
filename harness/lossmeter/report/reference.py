"""The reference results as one Markdown page: ``results/README.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lossmeter.model import plural
from lossmeter.plan.refusal import Refusal
from lossmeter.plan.remedies import Place
from lossmeter.report import words
from lossmeter.report._layout import markdown_table
from lossmeter.report._markup import markdown_cell
from lossmeter.report._templates import render
from lossmeter.report.backends import (
    KEPT_SHARE,
    P99_BOUND_MS,
    Advice,
    advise,
    sustained,
    tiers,
    worst_losses,
)
from lossmeter.report.capacity import EQUAL_RATES, RATES, RecordedCapacity
from lossmeter.report.dense import PLAIN, Layout, remedies_grid
from lossmeter.report.limits import limits_table
from lossmeter.report.matrix import runs_frame
from lossmeter.report.matrix_markdown import (
    metric_tables,
    rates_table,
    sustained_table,
    table,
)
from lossmeter.report.matrix_view import about
from lossmeter.report.predicted_markdown import MISSED, predicted_table
from lossmeter.report.recorded import JudgedRun


@dataclass(frozen=True, slots=True)
class Making:
    """How the runs came about.

    Attributes:
        took_s: seconds that the runs took together; None for runs that were named.
        missing: what was asked for and lacks runs, with the reason.
        absent: why a cell has no run, by experiment and target.
    """

    command: str
    took_s: float | None = None
    missing: Sequence[str] = ()
    absent: Mapping[Place, Refusal] = field(default_factory=dict)


def reference(
    runs: Sequence[JudgedRun],
    cells: pd.DataFrame,
    capacities: Mapping[tuple[str, str], RecordedCapacity],
    making: Making,
    layout: Layout = PLAIN,
) -> str:
    """Return the page."""
    advice, losses = advise(cells), worst_losses(cells)
    verdicts = runs_frame(runs)["verdict"].value_counts()
    least = sorted(losses.items(), key=lambda item: item[1])
    view = {
        "making": making,
        "took": words.minutes(making.took_s or 0.0),
        "runs": plural(len(runs), "run"),
        "beside": _beside(runs),
        "verdicts": ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items()),
        "advice": [
            {
                "rate": f"{each.rate_per_s:,.0f}",
                "which": _which(each),
                "recommended": each.recommended,
            }
            for each in advice
        ],
        "suits": _suits(advice),
        "losses": ", ".join(f"{markdown_cell(name)} {words.count(lost)}" for name, lost in least),
        "kept_share": words.percent(KEPT_SHARE, 1),
        "p99_bound": words.milliseconds(P99_BOUND_MS),
        "rates": rates_table(tiers(cells)),
        "limits": limits_table(runs, tiers(cells)),
        "set_up": _set_up(runs),
        "equal": rates_table(equal) if (equal := tiers(cells, EQUAL_RATES)) else "",
        "equally": _equally(runs),
        "sustained": sustained_table(sustained(cells, capacities)),
        "repeats": _repeats(cells),
        "metrics": list(metric_tables(cells, layout)),
        "remedies": _remedies(cells, layout),
        "missed": MISSED,
        "predicted": predicted_table(runs),
        "missing": [markdown_cell(each) for each in making.missing],
        "made_with": _made_with(runs),
    }
    return render("reference.md.j2", view)


def _beside(runs: Sequence[JudgedRun]) -> str:
    """Return how many runs were made beside others, in words; empty for none."""
    shared = [run.at_once for run in runs if run.at_once > 1]
    were = "was" if len(shared) == 1 else "were"
    return f"{plural(len(shared), 'run')} {were} made up to {max(shared)} at once" if shared else ""


def _repeats(cells: pd.DataFrame) -> str:
    """Return how many runs a cell is made of, in words."""
    low, high = (int(found) for found in (cells["runs"].min(), cells["runs"].max()))
    return plural(high, "run") if low == high else f"{low} to {plural(high, 'run')}"


def _remedies(cells: pd.DataFrame, layout: Layout) -> str:
    grid = remedies_grid(cells, layout)
    return grid.markdown() if grid.rows else ""


def _suits(advice: Sequence[Advice]) -> str:
    rows = [
        [
            f"{each.rate_per_s:,.0f}/s",
            ", ".join(markdown_cell(name) for name in each.kept) or "none",
            f"**{markdown_cell(each.suits)}**" if each.suits else "none",
            markdown_cell(each.why),
            markdown_cell(each.recommended),
        ]
        for each in advice
    ]
    heads = ["rate", "kept by", "suits best", "because", "the analysis recommends"]
    return markdown_table(heads, rows, [True, False, False, False, False])


# Of the numbers by which a target behaves, those that decide how much it takes.
_SET = ("workers", "capacity", "batch_rows", "handler_time_s", "push_timeout_s")


def _set_up(runs: Sequence[JudgedRun]) -> str:
    """Return with which settings each target was run at the rates."""
    found = {
        run.result.target: _numbers(run)
        for run in runs
        if run.result.experiment.startswith(f"{RATES}-")
    }
    columns = [name for name in _SET if any(name in numbers for numbers in found.values())]
    rows = [
        [markdown_cell(target), *(numbers.get(name, "") for name in columns)]
        for target, numbers in found.items()
    ]
    return table(["target", *(name.replace("_", " ") for name in columns)], rows)


def _equally(runs: Sequence[JudgedRun]) -> str:
    """Return with which settings all targets were run at equal rates."""
    found = [_numbers(run) for run in runs if run.result.experiment.startswith(f"{EQUAL_RATES}-")]
    said = dict.fromkeys(
        f"{name.replace('_', ' ')} {numbers[name]}"
        for numbers in found
        for name in _SET
        if name in numbers
    )
    return ", ".join(said)


def _numbers(run: JudgedRun) -> dict[str, str]:
    numbers = run.environment.numbers
    return {n: f"{v:,g}" for n in _SET if isinstance(v := numbers.get(n), int | float)}


def _which(of: Advice) -> str:
    if of.suits is None:
        return "no target here keeps up"
    others = [markdown_cell(name) for name in of.kept if name != of.suits]
    verb = "keeps" if len(others) == 1 else "keep"
    reported = f"**{markdown_cell(of.suits)}** suits best: {of.why}"
    if others:
        reported += f"; {', '.join(others)} {verb} up too"
    if of.fastest != of.suits:
        reported += f"; where its losses are acceptable, {markdown_cell(of.faster)}"
    return reported


def _made_with(runs: Sequence[JudgedRun]) -> str:
    rows = [[markdown_cell(name), markdown_cell(value)] for name, value in about(runs)]
    return markdown_table(["what", "which"], rows, [False, False])
