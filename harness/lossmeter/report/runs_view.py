"""What the index of runs says in a browser: trends and runs, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from lossmeter.record.index import Entry, Filter, Trend
from lossmeter.report import words
from lossmeter.report._layout import Column, Grid, Line
from lossmeter.report.history import curve, figure_text, figures_of
from lossmeter.report.run_view import classes_grid
from lossmeter.report.seldom import seldom_shown


def runs_view(
    asked: Filter, everything: Sequence[Entry], trends: Sequence[Trend], entries: Sequence[Entry]
) -> dict[str, object]:
    """Return the variables of the template ``index.html.j2``."""
    names = ("experiment", "target", "runtime")
    return {
        "asked": asked,
        "choices": {n: sorted({getattr(entry, n) for entry in everything}) for n in names},
        "trends": _trends(trends),
        "runs": _runs(entries),
        "classes": classes_grid(),
    }


def _trends(trends: Sequence[Trend]) -> Grid[Trend]:
    return Grid(
        "One bar for each run, the newest on the right; a dot is a run that says nothing.",
        (
            Column("experiment", lambda trend: trend.experiment, words=True),
            Column("target", lambda trend: trend.target, words=True),
            Column("newest", lambda trend: _verdict(trend.last), words=True),
            *(_figure(name) for name in figures_of(trends)),
            Column("runtime", lambda trend: trend.runtime, words=True),
            Column("runs", lambda trend: words.count(len(trend.entries))),
        ),
        trends,
    )


def _figure(name: str) -> Column[Trend]:
    return Column(
        words.measure_name(name),
        lambda trend: (
            Line(figure_text(name, trend.figures(name))),
            Line(curve(trend.figures(name)), "curve"),
        ),
    )


def _runs(entries: Sequence[Entry]) -> Grid[Entry]:
    return Grid(
        "The newest first.",
        (
            Column("begun (UTC)", lambda e: _link(e, e.begun[:19].replace("T", " ")), words=True),
            Column("experiment", lambda e: e.experiment, words=True),
            Column("target", lambda e: e.target, words=True),
            Column("verdict", _verdict, words=True),
            Column("lost", lambda e: Line(words.count(e.lost), "strong")),
            *(_class(name) for name in seldom_shown(lambda n: (getattr(e, n) for e in entries))),
            Column("acked", lambda e: words.count(e.acked)),
            Column("duplicated", lambda e: words.count(e.duplicated)),
            Column("unresolved", lambda e: words.count(e.unresolved)),
            Column("recovery", lambda e: words.seconds(e.recovery_s)),
            Column("runtime", lambda e: e.runtime, words=True),
            Column("reason", lambda e: e.reason, words=True),
        ),
        entries,
    )


def _class(name: str) -> Column[Entry]:
    return Column(words.measure_name(name), lambda e: words.count(getattr(e, name)))


def _verdict(entry: Entry) -> Line:
    return _link(entry, entry.verdict, entry.verdict)


def _link(entry: Entry, text: str, kind: str = "") -> Line:
    return Line(text, kind, href=f"/runs/{quote(entry.folder, safe='')}")
