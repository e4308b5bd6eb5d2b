"""What a search found: as a table, and as a page."""

from __future__ import annotations

from collections.abc import Sequence

from lossmeter.model import plural
from lossmeter.report import words
from lossmeter.report._layout import NOTHING, Column, Grid, Line, Shown
from lossmeter.report._templates import render
from lossmeter.studies.found import INSTANT_S, Found, Report, instant


def search_table(report: Report) -> Grid[Found]:
    """Return one line for each step of an event's way."""
    return Grid(
        f"Kills of {report.target}, by the step they were aimed at",
        (
            Column("step", lambda found: found.step, 0, words=True),
            Column("runs", lambda found: words.count(found.runs), 4),
            Column("hit", _hit, 1, words=True, matters=_seen),
            Column("looks", lambda found: words.count(found.looks), 6),
            Column("stay there", lambda found: _seconds(found.dwell_s), 5),
            Column("events there", lambda found: words.count(found.there), 3, matters=_seen),
            Column("lost", lambda found: words.count(found.lost), 0),
            Column("duplicated", lambda found: words.count(found.duplicated), 0),
        ),
        list(report.steps.values()),
    )


def _seen(found: Found) -> bool:
    return found.runs > 0


def search_page(report: Report, said: Sequence[str], how: Sequence[str]) -> str:
    """Return the same as Markdown, with the smallest schedule that loses as it was saved."""
    small = report.smallest
    shown = {
        "report": report,
        "table": search_table(report).markdown(),
        "said": said,
        "took": _took(report),
        "how": how,
        "smallest_events": "" if small is None else plural(small.events, "event"),
    }
    return render("search.md.j2", shown)


def _took(report: Report) -> str:
    runs = f"{plural(len(report.results), 'run')} in {report.took_s:.0f} s"
    if report.lost_after_s is None:
        return f"{runs}, none of which lost anything."
    return f"{runs}; the first loss was seen after {report.lost_after_s:.0f} s."


def _hit(found: Found) -> Shown:
    if found.hits:
        return "yes"
    return "too short to hit" if instant(found) else Line("no", "doubt")


def _seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    return words.milliseconds(1000 * value) if value >= INSTANT_S else f"{value * 1e6:.0f} µs"
