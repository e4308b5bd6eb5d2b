"""The page of known reports, ``results/reported.md``: what was to be seen, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lossmeter.model import plural
from lossmeter.report._layout import NOTHING, Column, Grid, Line
from lossmeter.report._markup import markdown_cell
from lossmeter.report._templates import render
from lossmeter.report.board_view import each_once, in_words, stage_of, versions_of
from lossmeter.studies.reported import REPORTED, Row
from lossmeter.studies.standing import Entry, Plan

NOT_MEASURED, CANNOT = "not measured", "cannot be asked yet"


def reported_page(rows: Sequence[Row], plan: Plan[Entry], about: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        rows: each report beside its runs.
        plan: the cells that they ask for.
        about: what it was made with: ``runtime``, ``machine`` and ``commit``.
    """
    versions = {entry.target: versions_of(entry) for entry in plan.entries}
    return render(
        "reported.md.j2",
        {
            "table": _table(rows, versions).markdown(),
            "notes": [_note(row) for row in rows],
            "repeats": plural(plan.repeats, "run"),
            "seeds": each_once(str(run.seed) for row in rows for run in row.runs),
            **about,
        },
    )


def _table(rows: Sequence[Row], versions: Mapping[str, str]) -> Grid[Row]:
    return Grid(
        "Known reports",
        (
            Column("report", lambda row: row.name, words=True),
            Column("reported of", lambda row: row.report.of, words=True),
            Column("run with", lambda row: versions.get(row.report.target, NOTHING), words=True),
            Column("to be seen", lambda row: row.report.says, words=True),
            Column("measured", measured, words=True),
            Column("seen", seen, words=True),
        ),
        rows,
    )


def measured(row: Row) -> str:
    """Return what the worst of a report's runs cost, or why there is none."""
    if (found := row.worst) is None:
        return NOT_MEASURED
    cost = in_words(found.counts, found.late_by_s)
    return f"{cost} of {found.counts.acked:,} acked ({stage_of(found)})" if cost != "0" else cost


def seen(row: Row) -> Line:
    """Return whether a report was seen, and in how many of its runs."""
    if row.report.why_not:
        return Line(CANNOT)
    if not row.runs:
        return Line(NOT_MEASURED)
    of = plural(len(row.runs), "run")
    if row.seen:
        return Line(f"✓ in {row.seen} of {of}")
    return Line(f"no, in {of}" + ("" if len(row.runs) >= row.asked else f" of {row.asked}"))


def _note(row: Row) -> str:
    """Return a line on a report, in Markdown: where it stands, and how it is asked."""
    report, name = row.report, markdown_cell(row.name)
    where = f"[{name}]({report.url})" if report.url else name
    if report.why_not:
        return f"{where}: {markdown_cell(report.why_not)}."
    asked = (
        f"{where}: `lossmeter run experiments/{REPORTED}/{report.experiment}.toml`, and seen by "
        f"what is {report.seen_by}"
    )
    return f"{asked}; {markdown_cell(report.differs)}." if report.differs else f"{asked}."
