"""What a search found: as a table, and as a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from harness.found import INSTANT_S, Found, Report, instant

_HEAD = ("runs", "hit", "looks", "stay there", "events there", "lost", "duplicated")


def search_table(report: Report) -> RenderableType:
    """Return one line for each step of an event's way."""
    table = Table(
        title=f"Kills of {report.target}, by the step they were aimed at",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("step")
    for name in _HEAD:
        table.add_column(name, justify="right")
    for found in report.steps.values():
        hit, *others = _cells(found)[2:]
        hit = hit if found.hits or instant(found) else f"[yellow]{hit}[/]"
        table.add_row(found.step, str(found.runs), hit, *others)
    return table


def search_page(report: Report, said: Sequence[str], how: Sequence[str]) -> str:
    """Return the same as Markdown, with the smallest schedule that loses as it was saved.

    Args:
        report: what the search came to.
        said: what was found, in plain words.
        how: with what, in sentences.
    """
    lines = [
        f"# Kills of {report.target}, by the step they were aimed at",
        "",
        "Each kill came with the target frozen and at least one event at the step. *Stay",
        "there*: the median time that an event is at the step. *Events there*, and what became",
        "of them: over all kills, at whichever step they were aimed.",
        "",
        f"| step | {' | '.join(_HEAD)} |",
        f"|---|{'---:|' * len(_HEAD)}",
        *(f"| {' | '.join(_cells(found))} |" for found in report.steps.values()),
        "",
        *([f"- {line}" for line in said] or ["- no step lost or duplicated anything"]),
        "",
        f"{_took(report)} {' '.join(how)}",
    ]
    small = report.smallest
    if small is not None:
        lines += [
            "",
            "## The smallest schedule that loses",
            "",
            f"{small.events} events, a kill with one {small.step}: {small.lost} lost. Saved as",
            f"`{small.file.name}`; `harness run FILE` runs it again.",
            "",
            "```python",
            small.file.read_text(encoding="utf-8").rstrip(),
            "```",
        ]
    return "\n".join(lines) + "\n"


def _took(report: Report) -> str:
    runs = f"{len(report.results)} runs in {report.took_s:.0f} s"
    if report.lost_after_s is None:
        return f"{runs}, none of which lost anything."
    return f"{runs}; the first loss was seen after {report.lost_after_s:.0f} s."


def _cells(found: Found) -> list[str]:
    return [
        found.step,
        str(found.runs),
        _hit(found),
        str(found.looks),
        _seconds(found.dwell_s),
        str(found.there),
        str(found.lost),
        str(found.duplicated),
    ]


def _hit(found: Found) -> str:
    if found.hits:
        return "yes"
    return "too short to hit" if instant(found) else "no"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.1f} ms" if value >= INSTANT_S else f"{value * 1e6:.0f} µs"
