"""The tables on the page of a run: budget, evidence, prediction, alerts, environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lossmeter.judge.bounds import Reading, readings
from lossmeter.model import Evidence, plural
from lossmeter.record.alerts import Alert
from lossmeter.record.result import LoadFigures, Result
from lossmeter.report import words
from lossmeter.report._layout import Column, Grid, Line
from lossmeter.report.alerts import RuleLine, rule_lines
from lossmeter.report.frame import Frame
from lossmeter.report.predicted_view import (
    PredictedLine,
    predicted_lines,
    was_collected,
)
from lossmeter.report.saved import Environment, SavedRun

NOT_MEASURED = "not measured"


def budget_grid(result: Result) -> Grid[Reading]:
    """Return each bound of the budget beside what was measured."""
    return Grid(
        "What this run may cost, and what it cost",
        (
            Column("bound", lambda each: Line(each.key, "mono"), words=True),
            Column("allowed", _allowed),
            Column("measured", _measured),
        ),
        _bounds(result),
    )


def _bounds(result: Result) -> list[Reading]:
    """Return the readings; of what was not collected, only what producers know is measured."""
    if result.budget is None or result.budget.empty:
        return []
    measured = was_collected(result)
    return [
        reading
        if measured or reading.key in {"min_sent", "min_acked"}
        else replace(reading, value=None)
        for reading in readings(result.counts, result.budget, result.recovery_s, result.predicted)
    ]


def _allowed(reading: Reading) -> str:
    """Return a bound in words."""
    return f"{'at least ' if reading.least else ''}{_amount(reading.key, reading.bound)}"


def _measured(reading: Reading) -> Line:
    """Return what was measured, with a bar that shows the share of the bound that is used."""
    if reading.value is None:
        return Line(NOT_MEASURED)
    shown, kind = _amount(reading.key, reading.value), "misses" if reading.broken else ""
    if reading.broken and shown == _amount(reading.key, reading.bound):
        # Rounded as the bound is, what is beyond it would look as if it were not.
        shown = _exactly(reading.key, reading.value)
    if reading.least:
        return Line(shown, kind)
    used = 100 * reading.value / reading.bound if reading.bound else 0.0
    part = ("over", 0.0, 100.0) if reading.broken else ("used", 0.0, round(used, 1))
    return Line(shown, kind, bar=(part,))


def _amount(key: str, value: float) -> str:
    if key == "recovery_s_max":
        return words.seconds(value)
    return words.percent(value, 1) if key == "max_loss_ratio" else words.count(value)


def _exactly(key: str, value: float) -> str:
    return f"{value:,.3f} s" if key == "recovery_s_max" else f"{100 * value:.6g} %"


def lost_tables(result: Result) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return where events were lost, each way adding up to the loss; nothing without one.

    By stage where the target marks them; by time against the fault, and by their place
    among the events of their producer, on any target.
    """
    if not was_collected(result) or not result.counts.lost:
        return []
    where = result.lost_where
    ways = {
        "Where lost events were when they were lost": result.stages or {},
        "When lost events were under way": result.lost_when,
        "Lost events among those of their producer": {
            "before the first delivered one": where.prefix,
            "between delivered ones": where.middle,
            "after the last delivered one": where.suffix,
        },
    }
    return [
        (caption, [(reported, words.count(number)) for reported, number in _summed(way).items()])
        for caption, way in ways.items()
        if way
    ]


def _summed(way: Mapping[str, int]) -> Mapping[str, int]:
    return {**way, "together": sum(way.values())}


def evidence_grid(run: SavedRun, frame: Frame | None) -> Grid[Evidence]:
    """Return what shows that the faults took place."""
    zero_ns = frame.axis.zero_ns if frame else None
    return Grid(
        "What shows that the fault took place",
        (
            Column("source", lambda seen: seen.source, words=True),
            Column("claim", lambda seen: seen.claim, words=True),
            Column("reading", lambda seen: Line(seen.value, "mono"), words=True),
            Column("at", lambda seen: _at(seen.at_ns, zero_ns)),
            Column("holds", lambda seen: _HOLDS[seen.holds], words=True),
        ),
        run.result.evidence,
    )


_HOLDS = {True: Line("yes", "holds"), False: Line("no", "misses"), None: Line(NOT_MEASURED)}


def predicted_grid(result: Result) -> Grid[PredictedLine]:
    """Return what the model predicts beside what was measured."""
    return Grid(
        "What the model predicts, and what was measured",
        (
            Column("figure", lambda line: line.name, words=True),
            Column("predicted", lambda line: line.predicted),
            Column("measured", lambda line: Line(line.measured, bar=line.bar)),
            Column("difference", lambda line: line.difference),
            Column("fits", lambda line: _HOLDS[line.holds], words=True),
        ),
        predicted_lines(result),
    )


def proof_cost(result: Result) -> str:
    """Return what the proof of the ledger cost, in words; empty where that is not known."""
    share = result.self_proof_share
    return "" if share is None else words.proof_cost(result.timings_s["self_proof"], share)


def alerts_grid(run: SavedRun, frame: Frame | None) -> Grid[Alert]:
    """Return the alerts that fired."""
    zero_ns = frame.axis.zero_ns if frame else None

    def ended(alert: Alert) -> str:
        return "still firing" if alert.ended_ns is None else _at(alert.ended_ns, zero_ns)

    return Grid(
        "Alerts that fired",
        (
            Column("alert", lambda alert: alert.name, words=True),
            Column("severity", lambda alert: alert.severity or "–", words=True),
            Column("fired at", lambda alert: _at(alert.fired_ns, zero_ns)),
            Column("ended at", ended),
        ),
        run.alerts,
    )


def rules_grid(run: SavedRun) -> Grid[RuleLine]:
    """Return a line for each alerting rule; none where nothing watched."""
    watched = run.monitoring
    return Grid(
        "Alerts: which fired, and which did not",
        (
            Column("alert", lambda rule: rule.name, words=True),
            Column("severity", lambda rule: rule.severity, words=True),
            Column("fired", lambda rule: rule.fired, words=True),
            Column("ended", lambda rule: rule.ended, words=True),
            Column("meant", lambda rule: rule.reported, words=True),
            Column("by its own clock", lambda rule: rule.own_clock, words=True),
        ),
        [] if watched is None else rule_lines(watched, run.alerts, run.result, run.since),
    )


def _at(at_ns: int, zero_ns: int | None) -> str:
    return "–" if zero_ns is None else f"{(at_ns - zero_ns) / 1e9:.2f} s"


def _before(seen: Environment) -> list[tuple[str, str]]:
    """Return what the servers had done before, where that was noted."""
    if (runs := seen.servers_served_before) is None or not seen.servers:
        return []
    kept = f"kept after {plural(runs, 'run')}, emptied, and found as when new"
    return [("servers", kept if runs else "new")]


def _cpus(load: LoadFigures | None) -> list[tuple[str, str]]:
    used = load.cpus if load else {}
    return [("CPUs used under the load", words.cpus(used))] if used else []


def environment_tables(run: SavedRun) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the tables of the run, the machine, the servers and the settings."""
    result, seen = run.result, run.environment
    about = [
        ("runtime", result.runtime),
        ("seed", str(result.seed)),
        ("acked means", result.ack_level),
        *([("answers that were no ack", result.not_acks)] if result.not_acks else []),
        *([("times of rows", result.times_problem)] if result.times_problem else []),
        *([("commit of lossmeter", seen.commit)] if seen.commit else []),
        *_before(seen),
        *_cpus(result.load),
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
