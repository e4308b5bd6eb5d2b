"""The capacities of all targets, as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.report import words
from harness.report._markup import markdown_cell
from harness.report.capacity import Capacity, every_capacity
from harness.report.matrix_markdown import table
from harness.report.page import write


def save_capacities_page(folder: Path) -> Path:
    """Write ``README.md`` beside the capacities of a folder, from all of them.

    Raises:
        UsageError: a file there does not hold a capacity, or the page cannot be written.
    """
    return write(folder / "README.md", capacities_page(every_capacity(folder)))


def capacities_page(capacities: Sequence[Capacity]) -> str:
    """Return a page with a row for each capacity, the highest first, as Markdown."""
    heads = ["target", "runtime", "settings", "sustained", "p99 there", "not sustained", "why"]
    ordered = sorted(capacities, key=lambda each: -(each.sustained_per_s or 0.0))
    rows = table(heads, [_row(each) for each in ordered]).replace("---:", "---")
    machines = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in each.machine.items()) for each in ordered
    )
    seeds = dict.fromkeys(str(each.seed) for each in ordered)
    return "\n".join(
        [
            "# The highest rate that each target sustains",
            "",
            "Written by `harness capacity TARGET`, with `--like EXPERIMENT` for the settings of an",
            "experiment. An open load is offered at rates that close in on it. Sustained is what",
            "loses, refuses and leaves open nothing, answers in time and leaves no backlog; a rate",
            "that fails is tried twice.",
            "",
            rows,
            "",
            *(f"Machine: {markdown_cell(each)}" for each in machines),
            "",
            f"Seed: {', '.join(seeds)}",
            "",
        ]
    )


def _row(capacity: Capacity) -> list[str]:
    return [
        markdown_cell(capacity.target),
        markdown_cell(capacity.runtime),
        "its own" if capacity.like is None else markdown_cell(capacity.like),
        "none" if capacity.sustained_per_s is None else words.rate(capacity.sustained_per_s),
        words.milliseconds(capacity.p99_ms),
        "–" if capacity.failed_per_s is None else words.rate(capacity.failed_per_s),
        markdown_cell(capacity.limited_by),
    ]
