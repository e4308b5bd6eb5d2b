"""What the page of one run says: the words and charts that its template places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.budget import readings
from harness.ledger.records import Held, Records
from harness.model import Counts, Verdict
from harness.report import words
from harness.report.charts import Band, Frame, Moment, latencies, lost_events, timeline
from harness.report.drawing import Chart
from harness.report.saved import SavedRun
from harness.report.series import axis, by_producer, latency, marks, queue, rates
from harness.result import Comparison, Result

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
class Scale:
    """A predicted range and a measurement on one bar, in per cent of its width."""

    begin: float
    width: float
    at: float


@dataclass(frozen=True, slots=True)
class PredictedLine:
    """One figure predicted beside the same measured."""

    name: str
    predicted: str
    measured: str
    difference: str
    holds: bool | None
    scale: Scale | None


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
        "predicted": _predicted(result),
        "basis": _basis(result),
        "tolerances": _tolerances(result),
        "told": _classes(result, ("sent", "acked", "refused", "unknown")),
        "became": _classes(result, tuple(Counts().as_dict())[4:]),
        "where": _where(result),
        "evidence": _evidence(run, frame),
        "alerts": _alerts(run, frame),
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


def was_collected(result: Result) -> bool:
    """Return whether the classes that need rows mean anything."""
    return "lost" not in result.not_measured and bool(result.counts.sent)


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
        Figure("refused", words.count(counts.refused), _of(counts.refused, counts.sent, "of sent")),
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
    if run.told is None:
        return None
    faults = [record for record in run.facts.faults if record.injected_ns is not None]
    last_ns = [record.healed_ns for record in faults if record.healed_ns is not None]
    timed = _timed(run)
    if timed is not None and len(timed.rows):
        last_ns.append(_last_row_ns(run, timed))
    on = axis(run.told, last_ns)
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


def _last_row_ns(run: SavedRun, timed: Held) -> int:
    """Return when the last row was persisted, by the database's clock but within the run."""
    last_ns = int(timed.rows["persisted_ns"].max())
    if len(run.probed.at_ns):
        return min(last_ns, int(run.probed.at_ns.max()))
    return last_ns


def _timed(run: SavedRun) -> Held | None:
    """Return the rows if their times are real."""
    return run.held if run.facts.times_measured else None


def _charts(run: SavedRun, frame: Frame | None) -> list[Chart]:
    if run.told is None or frame is None:
        return []
    told = run.told
    on = frame.axis
    charts = [timeline(frame, rates(told, _timed(run), on), queue(run.probed, on))]
    if run.result.counts.acked:
        charts.append(latencies(frame, latency(told, on)))
    if run.ledger is not None and len(run.ledger.lost):
        lost = run.ledger.lost
        row, names, rows_are = _rows(run, lost)
        charts.append(lost_events(frame, marks(told, lost, row, names), rows_are))
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


# Predicted beside measured.


def _predicted(result: Result) -> list[PredictedLine]:
    predicted = result.predicted
    lines = []
    if predicted is not None and predicted.lost is not None:
        holds = None
        if result.difference is not None:
            holds = abs(result.difference) <= predicted.lost_tolerance
        lines.append(
            _predicted_line(
                Comparison(
                    name="lost",
                    unit="events",
                    predicted=predicted.lost,
                    measured=result.counts.lost if result.difference is not None else None,
                    difference=result.difference,
                    tolerance=predicted.lost_tolerance,
                    reason=predicted.tolerance_reason,
                    holds=holds,
                )
            )
        )
    if predicted is not None and predicted.duplicated_max is not None:
        lines.append(_at_most(result, predicted.duplicated_max))
    return lines + [_predicted_line(comparison) for comparison in result.comparisons]


def _at_most(result: Result, most: int) -> PredictedLine:
    number = result.counts.duplicated
    if not was_collected(result):
        return PredictedLine("duplicated", f"≤ {words.count(most)}", "–", "–", None, None)
    over = f"{max(0, number - most):+,}" if number > most else "–"
    scale = _scale(0, most, number)
    return PredictedLine(
        "duplicated", f"≤ {words.count(most)}", words.count(number), over, number <= most, scale
    )


def _predicted_line(of: Comparison) -> PredictedLine:
    name = of.name.replace("_per_s", "").removesuffix("_s").replace("_", " ")
    tolerance = f" ± {_number(of.tolerance)}" if of.tolerance else ""
    measured, difference, scale = "–", "–", None
    if of.measured is not None and of.difference is not None:
        measured, difference = _number(of.measured), _signed(of.difference)
        scale = _scale(of.predicted - of.tolerance, of.predicted + of.tolerance, of.measured)
    return PredictedLine(
        f"{name}, {of.unit}",
        f"{_number(of.predicted)}{tolerance}",
        measured,
        difference,
        of.holds,
        scale,
    )


def _scale(low: float, high: float, at: float) -> Scale:
    """Return a bar from 0, or below, to a little above the larger end."""
    begin = min(0.0, low, at)
    whole = (max(high, at, begin + 1e-9) - begin) * 1.15
    return Scale(
        *(
            round(100 * part / whole, 2)
            for part in (max(low, 0) - begin, high - max(low, 0), at - begin)
        )
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.3g}"


def _signed(value: float) -> str:
    shown = _number(abs(value))
    return shown if shown == "0" else f"{'+' if value > 0 else '−'}{shown}"


def _basis(result: Result) -> str:
    return f"Predicted from: {result.predicted.basis}" if result.predicted is not None else ""


def _tolerances(result: Result) -> list[str]:
    told = []
    if result.predicted is not None and result.predicted.tolerance_reason:
        told.append(
            f"lost ± {result.predicted.lost_tolerance}: {result.predicted.tolerance_reason}."
        )
    return told + [
        f"{each.name} ± {_number(each.tolerance)}: {each.reason}."
        for each in result.comparisons
        if each.reason
    ]


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


def _where(result: Result) -> list[tuple[str, str]]:
    """Return where in the sequence of their producers the lost events lie."""
    if not was_collected(result) or not result.counts.lost:
        return []
    where = result.lost_where
    return [
        ("before the first delivered one", words.count(where.prefix)),
        ("between delivered ones", words.count(where.middle)),
        ("after the last delivered one", words.count(where.suffix)),
    ]


def _evidence(run: SavedRun, frame: Frame | None) -> list[Seen]:
    zero_ns = frame.axis.zero_ns if frame else None
    return [
        Seen(seen.source, seen.claim, seen.value, seen.holds, _at(seen.at_ns, zero_ns))
        for seen in run.result.evidence
    ]


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


def _at(at_ns: int, zero_ns: int | None) -> str:
    return "–" if zero_ns is None else f"{(at_ns - zero_ns) / 1e9:.2f} s"


def _environment(run: SavedRun) -> list[tuple[str, list[tuple[str, str]]]]:
    result, seen = run.result, run.environment
    about = [
        ("runtime", result.runtime),
        ("seed", str(result.seed)),
        ("a yes means", result.ack_level),
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
