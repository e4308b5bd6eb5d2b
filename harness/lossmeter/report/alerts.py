"""What the alerts of a run say, and what they did not: fired, silent, or fired for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmeter.model import plural
from lossmeter.record.alerts import Alert, Monitoring, Rule, read_alerts, read_monitoring
from lossmeter.record.facts import Facts
from lossmeter.record.journals import first_due_ns
from lossmeter.record.result import Result


@dataclass(frozen=True, slots=True)
class AlertMoment:
    """What alerts are timed against: the first fault, or the beginning of the load."""

    name: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule as the page shows it."""

    name: str
    severity: str
    fired: str
    ended: str
    reported: str
    own_clock: str


def moment(facts: Facts, first_due_ns: int | None) -> AlertMoment | None:
    """Return what the alerts of a run are timed against; None when nothing is known."""
    for record in facts.faults:
        at_ns = record.struck_ns or record.injected_ns
        if at_ns is not None:
            return AlertMoment(f"fault {record.fault}", at_ns)
    return None if first_due_ns is None else AlertMoment("the load began", first_due_ns)


def clock_in_words(monitoring: Monitoring) -> str:
    """Return one sentence on who watched, and by which clock."""
    looks = f"{monitoring.unanswered} of {plural(monitoring.looks, 'look')} unanswered"
    if monitoring.factor <= 1:
        clock = f"by the clock of its rules, {monitoring.scrape_s:g} s between looks"
    else:
        clock = (
            f"by a clock {monitoring.factor:g} times as fast, so 1 m became "
            f"{60 / monitoring.factor:g} s, and {monitoring.scrape_s * monitoring.factor:g} s "
            f"between looks became {monitoring.scrape_s:g} s"
        )
    problem = f"; {monitoring.problem}" if monitoring.problem else ""
    return f"{monitoring.server} watched {clock}; {looks}{problem}"


def rule_lines(
    monitoring: Monitoring, alerts: Sequence[Alert], result: Result, since: AlertMoment | None
) -> list[RuleLine]:
    """Return a line for each rule, the silent ones too."""
    lines = []
    for rule in monitoring.rules:
        own = [alert for alert in alerts if alert.name == rule.name]
        first = min(own, key=lambda alert: alert.fired_ns) if own else None
        ended = max((a.ended_ns for a in own if a.ended_ns is not None), default=None)
        still = any(alert.ended_ns is None for alert in own)
        lines.append(
            RuleLine(
                name=rule.name,
                severity=rule.severity or "–",
                fired="silent" if first is None else after(first.fired_ns, since),
                ended="still firing" if still else "–" if ended is None else after(ended, since),
                reported=_described(first, result),
                own_clock=own_clock(rule),
            )
        )
    return lines


def _described(first: Alert | None, result: Result) -> str:
    lost = _lost(result)
    if first is not None:
        return lost or "fired without loss"
    return f"silent although {lost}" if lost else "nothing to say"


def _lost(result: Result) -> str:
    """Return how many events were lost, in words; nothing when none was."""
    lost = result.counts.lost
    return plural(lost, "event was lost", "events were lost") if lost else ""


def after(at_ns: int, since: AlertMoment | None) -> str:
    """Return when something was, e.g. ``1.3 s after fault sigkill``."""
    if since is None:
        return "at an unknown time"
    apart_s = (at_ns - since.at_ns) / 1e9
    return f"{abs(apart_s):.1f} s {'after' if apart_s >= 0 else 'before'} {since.name}"


def own_clock(rule: Rule) -> str:
    """Return what the rule did by its own clock, e.g. ``needs 5 m, held 6.2 s``."""
    needs = f"needs {span(rule.for_s)}"
    if rule.fired_ns is not None:
        return f"{needs}, fired"
    return f"{needs}, held {rule.held_s:.1f} s" if rule.held_s else f"{needs}, never held"


def span(seconds: float) -> str:
    """Return a wait as rules write it, e.g. ``5 m``."""
    return f"{seconds / 60:g} m" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


def alerts_in_words(folder: Path, result: Result) -> list[str]:
    """Return the alerts of a run as lines; none where nothing watched it."""
    monitoring = read_monitoring(folder)
    if monitoring is None:
        return []
    facts = Facts.load(folder)
    # The journals are read only where no fault came.
    since = moment(facts, None) or moment(facts, first_due_ns(folder))
    lines = rule_lines(monitoring, read_alerts(folder), result, since)
    reported = [clock_in_words(monitoring)]
    reported += [
        f"alert {line.name} ({line.severity}) fired {line.fired}, "
        f"{line.reported.removeprefix('fired ')}; "
        f"by its own clock it {line.own_clock}"
        for line in lines
        if line.fired != "silent"
    ]
    silent = [f"{line.name} ({line.own_clock})" for line in lines if line.fired == "silent"]
    if silent:
        lost = _lost(result)
        why = f" although {lost}" if lost else ""
        reported.append(f"silent{why}: {', '.join(silent)}")
    return reported
