"""What the page of one run says: the words and charts that its template places."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lossmeter.model import Counts, Verdict, plural
from lossmeter.plugins import lacking
from lossmeter.record.arrays import Records
from lossmeter.record.facts import FaultRecord
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report._layout import Column, Grid
from lossmeter.report.alerts import clock_in_words
from lossmeter.report.explanation import explained
from lossmeter.report.frame import Band, Frame, Moment
from lossmeter.report.predicted_view import (
    basis_in_words,
    tolerances_in_words,
    was_collected,
)
from lossmeter.report.run_tables import (
    NOT_MEASURED,
    alerts_grid,
    budget_grid,
    environment_tables,
    evidence_grid,
    lost_tables,
    predicted_grid,
    proof_cost,
    rules_grid,
)
from lossmeter.report.saved import SavedRun
from lossmeter.report.series import axis, by_producer, latency, marks, queue, rates

if TYPE_CHECKING:
    from lossmeter.report.drawing import Chart

MARKS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ERROR: "!",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the few numbers on top of the page."""

    name: str
    value: str
    beside: str = ""
    bad: bool = False


def run_view(run: SavedRun, home: str = "") -> dict[str, object]:
    """Return the variables of the template ``run.html.j2``; ``home`` leads to all runs."""
    result = run.result
    frame = _frame(run)
    return {
        "result": result,
        "mark": MARKS[result.verdict],
        "headline": headline(result),
        "key": _key(result),
        "explained": explained(result, run.facts),
        "gaps": run.gaps,
        "home": home,
        "budget": budget_grid(result),
        "charts": _charts(run, frame),
        "undrawn": lacking(["matplotlib"]) or "",
        "no_loss": _no_loss(run),
        "predicted": predicted_grid(result),
        "basis": basis_in_words(result),
        "tolerances": tolerances_in_words(result),
        "ledger": classes_grid(result),
        "lost_tables": lost_tables(result),
        "evidence": evidence_grid(run, frame),
        "proof_cost": proof_cost(result),
        "alerts": alerts_grid(run, frame),
        "rules": rules_grid(run),
        "watched": clock_in_words(run.monitoring) if run.monitoring else "",
        "environment": environment_tables(run),
    }


def headline(result: Result) -> str:
    """Return what became of the events, in one sentence."""
    what = f"{result.experiment} on {result.target}"
    counts = result.counts
    if not was_collected(result):
        return f"{what}: the loss was not measured"
    if not counts.acked:
        return f"{what}: none of {plural(counts.sent, 'event')} was acked"
    if not counts.lost:
        return f"{what}: none of {plural(counts.acked, 'acked event')} was lost"
    return (
        f"{what}: {words.count(counts.lost)} of {plural(counts.acked, 'acked event')} lost "
        f"({words.percent(counts.lost, counts.acked)})"
    )


# On top.


def _key(result: Result) -> list[Figure]:
    counts, load = result.counts, result.load
    measured = was_collected(result)
    worst = result.worst_case_ratio
    figures = [
        _class("lost", counts.lost, counts.acked, "of acked", measured=measured),
        Figure(
            "worst case",
            words.percent(worst, 1) if worst is not None and measured else NOT_MEASURED,
            f"{words.count(counts.unresolved)} unresolved" if measured else "",
        ),
        _class("duplicated", counts.duplicated, counts.acked, "of acked", measured=measured),
        _class(
            *("refused", counts.refused, counts.sent, "of sent"),
            measured="refused" not in result.not_measured,
        ),
        Figure("recovery", words.seconds(result.recovery_s), "until acked and persisted again"),
    ]
    if load is not None:
        figures += [
            Figure(
                "rate kept",
                words.rate(load.rate_kept_per_s),
                f"{words.rate(load.rate_asked_per_s)} asked",
            ),
            Figure(
                "latency p99",
                words.milliseconds(load.latency_p99_ms),
                f"p50 {words.milliseconds(load.latency_p50_ms)}",
            ),
        ]
    return figures


def _class(name: str, number: int, whole: int, reported: str, *, measured: bool) -> Figure:
    if not measured:
        return Figure(name, NOT_MEASURED)
    return Figure(
        name, words.count(number), _of(number, whole, reported), bad=name == "lost" and number > 0
    )


def _of(number: int, whole: int, reported: str) -> str:
    return f"{words.percent(number, whole)} {reported}" if whole else ""


# Charts.


def _frame(run: SavedRun) -> Frame | None:
    if run.times is None:
        return None
    faults = [record for record in run.facts.faults if record.injected_ns is not None]
    spans = [_span_ns(record, run) for record in faults]
    last_ns = [end_ns for _, end_ns in spans]
    rows_ns = run.times.persisted_ns
    if rows_ns is not None and (last_row_ns := rows_ns.last) is not None:
        looks_ns = run.probed.at_ns
        # By the database's clock, but within the run.
        last_ns.append(min(last_row_ns, int(looks_ns.max())) if len(looks_ns) else last_row_ns)
    on = axis(run.times, last_ns)
    if on is None:
        return None
    bands = []
    for record, span in zip(faults, spans, strict=True):
        begin_s, end_s = (min(on.end_s, max(0.0, (ns - on.zero_ns) / 1e9)) for ns in span)
        bands.append(Band(record.fault, begin_s, end_s))
    moments = [
        Moment(alert.name, at_s)
        for alert in run.alerts
        if 0 <= (at_s := (alert.fired_ns - on.zero_ns) / 1e9) <= on.end_s
    ]
    return Frame(on, bands, moments)


def _span_ns(record: FaultRecord, run: SavedRun) -> tuple[int, int]:
    """Return when a fault struck, and until when it is seen: until service was back, or healed.

    What was only taken back after the load, such as a limit that the target met once, is a
    moment.
    """
    injected_ns = record.injected_ns or 0
    begin_ns = record.struck_ns or injected_ns
    ends = [] if record.healed_ns is None else [record.healed_ns]
    if run.result.recovery_s:
        ends.append(begin_ns + round(run.result.recovery_s * 1e9))
    last_due_ns = run.times.due_ns.last if run.times else None
    end_ns = min(ends, default=begin_ns)
    beyond = last_due_ns is not None and begin_ns < last_due_ns < end_ns
    return begin_ns, begin_ns if beyond else max(begin_ns, end_ns)


def _charts(run: SavedRun, frame: Frame | None) -> list[Chart]:
    if run.times is None or frame is None or lacking(["matplotlib"]) is not None:
        return []
    # Where a home cannot be written, it tells at length where it keeps its fonts instead.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from lossmeter.report.charts import (  # noqa: PLC0415 - an extra brings what draws them
        latencies,
        lost_events,
        timeline,
    )

    on = frame.axis
    per_s = rates(run.times, on)
    charts = [timeline(frame, per_s, queue(run.probed, on))]
    if run.result.counts.acked:
        charts.append(latencies(frame, latency(run.times, on)))
    if run.ledger is not None and len(run.ledger.lost):
        row, names, rows_are = _rows(run, run.ledger.lost)
        at_s = on.seconds(run.lost_sent_ns)
        charts.append(lost_events(frame, marks(at_s, row, names), rows_are))
    return charts


def _rows(run: SavedRun, lost: Records) -> tuple[npt.NDArray[np.intp], Sequence[str], str]:
    """Return the row of each lost event: what it died of where that is marked, or its producer."""
    if run.stages is not None:
        return *run.stages.rows(lost), "stage"
    return *by_producer(lost), "producer"


def _no_loss(run: SavedRun) -> str:
    if run.ledger is None or len(run.ledger.lost):
        return ""
    acked = plural(run.result.counts.acked, "acked event")
    return f"None: each of {acked} was persisted, dead-lettered, is pending or stranded."


# Classes, evidence, environment.


def classes_grid(result: Result | None = None) -> Grid[str]:
    """Return the classes of events, what each means, and how many of a run are in it."""
    columns: list[Column[str]] = [Column("class", words.measure_name, words=True)]
    if result is not None:
        columns.append(Column("events", lambda name: _number(result, name)))
    columns.append(Column("meaning", lambda name: words.MEANINGS.get(name, ""), words=True))
    return Grid(
        "Each event is in one class by its producer's outcome, and in one by the rows",
        columns,
        list(Counts().as_dict()),
    )


def _number(result: Result, name: str) -> str:
    outcome = name in {"sent", "acked", "refused", "unknown"}
    if name in result.not_measured or not (was_collected(result) or outcome):
        return NOT_MEASURED
    number = words.count(getattr(result.counts, name))
    if name == "late" and result.late_by_s is not None:
        return f"{number}, by up to {words.seconds(result.late_by_s)}"
    return number
