"""The table of a search."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from harness.found import INSTANT_S, Found, Report, instant


def search_table(report: Report) -> RenderableType:
    """Return one line for each step of an event's way."""
    table = Table(
        title=f"Kills of {report.target}, by the step they were aimed at",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("step")
    for name in ("runs", "hit", "looks", "stay there", "events there", "lost", "duplicated"):
        table.add_column(name, justify="right")
    for found in report.steps.values():
        table.add_row(
            found.step,
            str(found.runs),
            _hit(found),
            str(found.looks),
            _seconds(found.dwell_s),
            str(found.there),
            str(found.lost),
            str(found.duplicated),
        )
    return table


def _hit(found: Found) -> str:
    if found.hits:
        return "yes"
    return "too short to hit" if instant(found) else "[yellow]no[/]"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.1f} ms" if value >= INSTANT_S else f"{value * 1e6:.0f} µs"
