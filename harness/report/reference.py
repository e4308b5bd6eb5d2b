"""The reference results as one Markdown page: ``results/README.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.report import words
from harness.report._markup import markdown_cell
from harness.report.backends import (
    KEPT_SHARE,
    P99_BOUND_MS,
    Advice,
    advise,
    beside_rates,
    sustained,
    tiers,
    worst_losses,
)
from harness.report.capacity import Capacity
from harness.report.matrix import runs_frame
from harness.report.matrix_markdown import (
    BY_EXPERIMENT,
    metric_table,
    rates_table,
    sustained_table,
    table,
)
from harness.report.matrix_view import about
from harness.report.predicted_markdown import MISSED, predicted_table
from harness.report.recorded import JudgedRun


@dataclass(frozen=True, slots=True)
class Making:
    """How the runs came about.

    Attributes:
        command: that makes them again.
        took_s: seconds that making them took; None when they were there already.
        missing: what was asked for and has no run, with the reason.
    """

    command: str
    took_s: float | None = None
    missing: Sequence[str] = ()


def reference(
    runs: Sequence[JudgedRun],
    cells: pd.DataFrame,
    capacities: Mapping[tuple[str, str], Capacity],
    making: Making,
) -> str:
    """Return the page."""
    parts = [
        "# Reference results",
        _opening(runs, making),
        "## Which backend suits which rate",
        *_suits(cells, capacities),
        "## What is lost",
        (
            "Medians of the repeats, with their range where they differ. *Worst case* counts "
            "every unresolved event as lost, of all that were sent."
        ),
        *(metric_table(beside_rates(cells), metric) for metric in BY_EXPERIMENT),
        "## Predicted and measured",
        (
            "A row for each run. *Other* is what else was predicted of it: measured, then "
            f"predicted in brackets. {MISSED} marks what is beyond its tolerance; the page of a "
            "run says what that rests on."
        ),
        predicted_table(runs),
    ]
    if making.missing:
        parts += ["## What is missing", "\n".join(f"- {markdown_cell(m)}" for m in making.missing)]
    parts += ["## Made with", _made_with(runs)]
    return "\n\n".join(parts) + "\n"


def _opening(runs: Sequence[JudgedRun], making: Making) -> str:
    verdicts = runs_frame(runs)["verdict"].value_counts()
    told = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())
    how = "from runs that were recorded"
    if making.took_s is not None:
        how = f"after making the runs in {_minutes(making.took_s)} on the machine below"
    return (
        f"Written by `{making.command}` {how}; nothing here is typed in.\n\n"
        f"{words.plural(len(runs), 'run')}: {told}. The same as a [heat map](matrix.html) and as "
        "[CSV](matrix.csv)."
    )


def _suits(cells: pd.DataFrame, capacities: Mapping[tuple[str, str], Capacity]) -> list[str]:
    advice = advise(cells)
    if not advice:
        return [
            "No run at the rates of the analysis is among these; `harness run rates` makes them."
        ]
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
    lines = table(heads, rows).replace("---:", "---")
    return [
        lines,
        _told(advice),
        _losses(cells),
        _rule(),
        rates_table(tiers(cells)),
        sustained_table(sustained(cells, capacities)),
    ]


def _told(advice: Sequence[Advice]) -> str:
    """Return what the table says, in sentences."""
    return "\n".join(
        f"- At {each.rate_per_s:,.0f} events/s {_which(each)}. "
        f"The analysis recommends {each.recommended}."
        for each in advice
    )


def _which(of: Advice) -> str:
    if of.suits is None:
        return "no target here keeps up"
    others = [markdown_cell(name) for name in of.kept if name != of.suits]
    verb = "keeps" if len(others) == 1 else "keep"
    told = f"**{markdown_cell(of.suits)}** suits best: {of.why}"
    if others:
        told += f"; {', '.join(others)} {verb} up too"
    if of.fastest != of.suits:
        told += f"; where its losses are acceptable, {markdown_cell(of.faster)}"
    return told


def _losses(cells: pd.DataFrame) -> str:
    losses = worst_losses(cells)
    if not losses:
        return (
            "No experiment with a fault was judged on all targets, so losses decide nothing here."
        )
    told = ", ".join(
        f"{markdown_cell(target)} {words.count(lost)}"
        for target, lost in sorted(losses.items(), key=lambda item: item[1])
    )
    return f"Most events lost under any fault that each of these met: {told}."


def _rule() -> str:
    return (
        f"A target keeps a rate when every run at it passed, nothing was refused, at least "
        f"{KEPT_SHARE:.0%} of the rate came out, and the p99 from the scheduled time to the yes "
        f"stayed within {P99_BOUND_MS:.0f} ms. Of those that keep it, the one suits best that lost "
        "least under faults; of equals, the one with the lowest p99."
    )


def _made_with(runs: Sequence[JudgedRun]) -> str:
    return table(
        ["what", "which"],
        [[markdown_cell(name), markdown_cell(value)] for name, value in about(runs)],
    ).replace("---:", "---")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
