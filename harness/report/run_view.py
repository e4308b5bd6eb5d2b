"""What the page of one run says: the words and charts that its template places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.budget import readings
from harness.ledger.records import Records
from harness.model import Counts, Verdict
from harness.report import words
from harness.report.alerts import RuleLine, clock_told, rule_lines
from harness.report.charts import latencies, lost_events, timeline
from harness.report.drawing import Chart
from harness.report.frame import Band, Frame, Moment
from harness.report.predicted_view import (
    basis_told,
    predicted_lines,
    tolerances_told,
    was_collected,
)
from harness.report.saved import Environment, SavedRun
from harness.report.series import axis, by_producer, latency, marks, queue, rates
from harness.result import Result

MARKS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ERROR: "!",
}
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the few numbers on top of the page."""

    name: str
    value: str
    beside: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One bound of the budget; ``share`` of it that is used, in per cent of its bar."""

    bound: str
    allowed: str
    measured: str
    share: float | None
    over: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """One piece of evidence, its time in seconds of the run."""

    source: str
    claim: str
    value: str
    holds: bool
    at: str


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert that fired."""

    name: str
    severity: str
    fired: str
    ended: str


def run_view(run: SavedRun) -> dict[str, object]:
    """Return the variables of the template ``run.html.j2``."""
    result = run.result
    frame = _frame(run)
    return {
        "result": result,
        "mark": MARKS[result.verdict],
        "headline": headline(result),
        "key": _key(result),
        "gaps": run.gaps,
        "budget": _budget(result),
        "charts": _charts(run, frame),
        "no_loss": _no_loss(run),
        "predicted": predicted_lines(result),
        "basis": basis_told(result),
        "tolerances": tolerances_told(result),
        "told": _classes(result, ("sent", "acked", "refused", "unknown")),
        "became": _classes(result, tuple(Counts().as_dict())[4:]),
        "lost_tables": _lost_tables(result),
        "evidence": _evidence(run, frame),
        "proof_cost": _proof_cost(result),
        "alerts": _alerts(run, frame),
        "rules": _rules(run),
        "watched": clock_told(run.monitoring) if run.monitoring else "",
        "environment": _environment(run),
    }


def headline(result: Result) -> str:
    """Return what became of the events, in one sentence."""
    what = f"{result.experiment} on {result.target}"
    counts = result.counts
    if not was_collected(result):
        return f"{what}: the loss was not measured"
    if not counts.acked:
        return f"{what}: none of {words.plural(counts.sent, 'event')} was acked"
    if not counts.lost:
        return f"{what}: none of {words.plural(counts.acked, 'acked event')} was lost"
    return (
        f"{what}: {words.count(counts.lost)} of {words.plural(counts.acked, 'acked event')} lost "
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


def _class(name: str, number: int, whole: int, told: str, *, measured: bool) -> Figure:
    if not measured:
        return Figure(name, NOT_MEASURED)
    return Figure(
        name, words.count(number), _of(number, whole, told), bad=name == "lost" and number > 0
    )


def _of(number: int, whole: int, told: str) -> str:
    return f"{words.percent(number, whole)} {told}" if whole else ""


def _budget(result: Result) -> list[BudgetLine]:
    if result.budget is None or result.budget.empty:
        return []
    measured = was_collected(result)
    lines = [
        _budget_line(reading.key, reading.value if measured else None, reading.bound)
        for reading in readings(result.counts, result.budget, result.recovery_s)
    ]
    for bound, number in (("min_sent", result.counts.sent), ("min_acked", result.counts.acked)):
        least = getattr(result.budget, bound)
        if least is not None:
            allowed = f"at least {words.count(least)}"
            lines.append(BudgetLine(bound, allowed, words.count(number), None, number < least))
    return lines


def _budget_line(key: str, value: float | None, bound: float) -> BudgetLine:
    if value is None:
        return BudgetLine(key, _amount(key, bound), NOT_MEASURED, None, over=False)
    over = value > bound
    share = 100.0 if over else 100 * value / bound if bound else 0.0
    return BudgetLine(key, _amount(key, bound), _amount(key, value), round(share, 1), over)


def _amount(key: str, value: float) -> str:
    if key == "recovery_s_max":
        return words.seconds(value)
    return words.percent(value, 1) if key == "max_loss_ratio" else words.count(value)


# Charts.


def _frame(run: SavedRun) -> Frame | None:
    if run.times is None:
        return None
    faults = [record for record in run.facts.faults if record.injected_ns is not None]
    last_ns = [record.healed_ns for record in faults if record.healed_ns is not None]
    last_row_ns = run.times.persisted_ns.last
    if _timed(run) and last_row_ns is not None:
        looks_ns = run.probed.at_ns
        # By the database's clock, but within the run.
        last_ns.append(min(last_row_ns, int(looks_ns.max())) if len(looks_ns) else last_row_ns)
    on = axis(run.times, last_ns)
    if on is None:
        return None
    bands = []
    for record in faults:
        begin_s = (record.injected_ns or 0) / 1e9 - on.zero_ns / 1e9
        healed = record.healed_ns
        end_s = on.end_s if healed is None else (healed - on.zero_ns) / 1e9
        bands.append(Band(record.fault, max(0.0, begin_s), min(on.end_s, max(0.0, end_s))))
    moments = [
        Moment(alert.name, at_s)
        for alert in run.alerts
        if 0 <= (at_s := (alert.fired_ns - on.zero_ns) / 1e9) <= on.end_s
    ]
    return Frame(on, bands, moments)


def _timed(run: SavedRun) -> bool:
    """Return whether there are rows, and their times are real."""
    return run.ledger is not None and run.facts.times_measured


def _charts(run: SavedRun, frame: Frame | None) -> list[Chart]:
    if run.times is None or frame is None:
        return []
    on = frame.axis
    per_s = rates(run.times, on, persisted=_timed(run))
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
    acked = words.plural(run.result.counts.acked, "acked event")
    return f"None: each of {acked} was persisted, dead-lettered or is pending."


# Classes, evidence, environment.


def _classes(result: Result, names: Sequence[str]) -> list[tuple[str, str]]:
    measured = was_collected(result)
    told_only = {"sent", "acked", "refused", "unknown"}
    numbers = result.counts.as_dict()
    return [
        (
            name.replace("_", " "),
            NOT_MEASURED
            if name in result.not_measured or not (measured or name in told_only)
            else words.count(numbers[name]),
        )
        for name in names
    ]


def _lost_tables(result: Result) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return where events were lost, each way adding up to the loss; nothing without one.

    By stage where the target marks them; by time against the fault, and by their place
    among the events of their producer, on any target.
    """
    if not was_collected(result) or not result.counts.lost:
        return []
    where = result.lost_where
    ways = {
        "What lost events died of": result.stages or {},
        "When lost events were under way": result.lost_when,
        "Lost events among those of their producer": {
            "before the first delivered one": where.prefix,
            "between delivered ones": where.middle,
            "after the last delivered one": where.suffix,
        },
    }
    return [
        (caption, [(told, words.count(number)) for told, number in _summed(way).items()])
        for caption, way in ways.items()
        if way
    ]


def _summed(way: Mapping[str, int]) -> Mapping[str, int]:
    return {**way, "together": sum(way.values())}


def _evidence(run: SavedRun, frame: Frame | None) -> list[Seen]:
    zero_ns = frame.axis.zero_ns if frame else None
    return [
        Seen(seen.source, seen.claim, seen.value, seen.holds, _at(seen.at_ns, zero_ns))
        for seen in run.result.evidence
    ]


def _proof_cost(result: Result) -> str:
    share = result.self_proof_share
    return "" if share is None else words.proof_cost(result.timings_s["self_proof"], share)


def _alerts(run: SavedRun, frame: Frame | None) -> list[AlertLine]:
    zero_ns = frame.axis.zero_ns if frame else None
    return [
        AlertLine(
            alert.name,
            alert.severity or "–",
            _at(alert.fired_ns, zero_ns),
            "still firing" if alert.ended_ns is None else _at(alert.ended_ns, zero_ns),
        )
        for alert in run.alerts
    ]


def _rules(run: SavedRun) -> list[RuleLine]:
    """Return a line for each alerting rule; none where nothing watched."""
    if run.monitoring is None:
        return []
    return rule_lines(run.monitoring, run.alerts, run.result, run.since)


def _at(at_ns: int, zero_ns: int | None) -> str:
    return "–" if zero_ns is None else f"{(at_ns - zero_ns) / 1e9:.2f} s"


def _before(seen: Environment) -> list[tuple[str, str]]:
    """Return what the servers had done before, where that was noted."""
    if (runs := seen.servers_served_before) is None or not seen.servers:
        return []
    kept = f"kept after {words.plural(runs, 'run')}, emptied, and found as when new"
    return [("servers", kept if runs else "new")]


def _environment(run: SavedRun) -> list[tuple[str, list[tuple[str, str]]]]:
    result, seen = run.result, run.environment
    about = [
        ("runtime", result.runtime),
        ("seed", str(result.seed)),
        ("a yes means", result.ack_level),
        *_before(seen),
        *((f"{name} took", words.seconds(s)) for name, s in result.timings_s.items()),
    ]
    tables = [("Run", about)]
    for caption, part in (
        ("Machine", seen.machine),
        ("Servers", seen.servers),
        ("Settings of the target", seen.settings),
        ("Packages", seen.packages),
    ):
        if part:
            lines = [
                (name.replace("_", " ") if caption == "Machine" else name, str(value))
                for name, value in part.items()
            ]
            tables.append((caption, lines))
    return tables
