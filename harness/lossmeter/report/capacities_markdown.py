"""The capacities of all targets, as a Markdown page, and the rates that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lossmeter.report import words
from lossmeter.report._layout import Column, Grid, Line, Shown
from lossmeter.report._markup import markdown_cell
from lossmeter.report._templates import render, write
from lossmeter.report.capacity import RecordedCapacity, every_capacity

if TYPE_CHECKING:
    from lossmeter.studies.capacity import Tried, Tuned


def save_capacities_page(folder: Path) -> Path:
    """Write ``README.md`` beside the capacities of a folder, from all of them.

    Raises:
        UsageError: a file there does not hold a capacity, or the page cannot be written.
    """
    return write(folder / "README.md", capacities_page(every_capacity(folder)))


def capacities_page(capacities: Sequence[RecordedCapacity]) -> str:
    """Return a page with a row for each capacity, the highest first, as Markdown."""
    ordered = sorted(capacities, key=lambda each: -(each.sustained_per_s or 0.0))
    machines = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in each.machine.items()) for each in ordered
    )
    seeds = dict.fromkeys(str(each.seed) for each in ordered)
    view = {
        "table": _grid(ordered).markdown(),
        "machines": [markdown_cell(each) for each in machines],
        "seeds": list(seeds),
    }
    return render("capacities.md.j2", view)


def _grid(capacities: Sequence[RecordedCapacity]) -> Grid[RecordedCapacity]:
    return Grid(
        "The highest rate that each target sustains",
        (
            Column("target", lambda each: each.target, words=True),
            Column("runtime", lambda each: each.runtime, words=True),
            Column("settings", _settings, words=True),
            Column("sustained", lambda each: words.rate(each.sustained_per_s, "down")),
            Column("p99 there", lambda each: words.milliseconds(each.p99_ms)),
            Column("not sustained", lambda each: words.rate(each.failed_per_s, "up")),
            Column("why", lambda each: each.limited_by, words=True),
        ),
        capacities,
    )


def tried_table(tried: Sequence[Tried]) -> Grid[Tried]:
    """Return a line for each rate that was tried."""
    return Grid(
        "Rates tried",
        (
            Column("asked", lambda each: words.rate(each.rate_per_s), 0),
            Column("p99", lambda each: words.milliseconds(each.latency_p99_ms), 1),
            Column("sustained", _sustained, 0, words=True),
        ),
        tried,
    )


def tuning_table(tuning: Sequence[Tuned]) -> Grid[Tuned]:
    """Return a line for each choice of settings."""
    return Grid(
        "Settings tried",
        (
            Column("settings", lambda each: _in_words(each.settings), 0, words=True),
            Column("sustained", lambda each: words.rate(each.sustained_per_s, "down"), 0),
            Column("above that", lambda each: each.limited_by, 1, words=True),
        ),
        tuning,
    )


def _settings(each: RecordedCapacity) -> str:
    return ", ".join(part for part in (each.like or "its own", _in_words(each.settings)) if part)


def _in_words(settings: Mapping[str, str | int | float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _sustained(tried: Tried) -> Shown:
    return Line("yes", "pass") if tried.sustained else Line(tried.why or "no", "fail")
