"""The charts of a run in words and as tables, for a reader who does not see them."""

from __future__ import annotations

import numpy as np

from lossmeter.model import plural
from lossmeter.report import words
from lossmeter.report.frame import Frame
from lossmeter.report.series import Axis, Floats, LatencySeries, MarkSeries, Rates

TABLE_ROWS = 24


def timeline_in_words(frame: Frame, rates: Rates, queue: Floats) -> str:
    """Return the timeline in sentences."""
    kept = rates.sent[rates.sent > 0]
    parts = [
        f"{plural(len(rates.sent), 'step')} of {frame.axis.width_s:g} s.",
        f"Sent: {_range(kept)} while the load ran.",
        f"Acked: {_range(rates.acked)}.",
    ]
    if rates.persisted is not None:
        parts.append(f"Persisted: {_range(rates.persisted)}.")
    if np.isfinite(queue).any():
        at = int(np.nanargmax(queue))
        parts.append(
            f"The queue was longest, {plural(int(queue[at]), 'event')}, at "
            f"{frame.axis.edges_s[at]:.1f} s."
        )
    return " ".join([*parts, frame.reported()]).strip()


def _range(values: Floats) -> str:
    if not len(values):
        return "none"
    low, high = float(values.min()), float(values.max())
    return f"{words.figure(low)} to {words.figure(high)} events a second"


def latency_in_words(frame: Frame, latency: LatencySeries) -> str:
    """Return the latencies in sentences."""
    if not len(latency.at_s):
        return "No event was acked."
    p50, p99, p999 = latency.ms
    at = int(np.argmax(p99))
    return (
        f"Median latency from {words.milliseconds(float(p50.min()))} to "
        f"{words.milliseconds(float(p50.max()))}; p99 at most "
        f"{words.milliseconds(float(p99[at]))}, for events due about "
        f"{latency.at_s[at]:.1f} s; p99.9 at most {words.milliseconds(float(p999.max()))}. "
        f"{frame.reported()}"
    ).strip()


def lost_in_words(frame: Frame, marks: MarkSeries, rows_are: str) -> str:
    """Return the lost events in sentences."""
    if not marks.events:
        return "No event was lost."
    first, last = float(marks.at_s.min()), float(marks.at_s.max())
    most = sorted(marks.rows, key=lambda row: -row[1])[:5]
    by_row = ", ".join(f"{name} {words.count(number)}" for name, number in most if number)
    return (
        f"{plural(marks.events, 'event')} lost, sent between {first:.2f} s and "
        f"{last:.2f} s; most by {rows_are}: {by_row}. {frame.reported()}"
    ).strip()


def _every(bins: int) -> int:
    """Return how many bins share a row of a table."""
    return -(-bins // TABLE_ROWS)


def timeline_rows(axis: Axis, rates: Rates, queue: Floats) -> tuple[tuple[str, ...], ...]:
    """Return means of rates and the longest queue, a few bins a row."""
    rows = []
    step = _every(len(queue))
    for first in range(0, len(queue), step):
        part = slice(first, first + step)
        reported = queue[part][np.isfinite(queue[part])]
        persisted = None if rates.persisted is None else float(rates.persisted[part].mean())
        rows.append(
            (
                f"{axis.edges_s[first]:g}",
                words.figure(float(rates.sent[part].mean())),
                words.figure(float(rates.acked[part].mean())),
                words.figure(persisted),
                words.count(float(reported.max())) if len(reported) else "no answer",
            )
        )
    return tuple(rows)


def latency_rows(axis: Axis, latency: LatencySeries) -> tuple[tuple[str, ...], ...]:
    """Return the worst of each percentile in every few bins."""
    rows = []
    step = _every(len(latency.at_s))
    for first in range(0, len(latency.at_s), step):
        part = slice(first, first + step)
        worst = latency.ms[:, part].max(axis=1)
        begin_s = latency.at_s[first] - axis.width_s / 2
        shown = (words.milliseconds(float(ms)) for ms in worst)
        rows.append((f"{begin_s:g}", words.count(float(latency.events[part].sum())), *shown))
    return tuple(rows)
