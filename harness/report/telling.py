"""The charts of a run in words and as tables, for whoever does not see them."""

from __future__ import annotations

import numpy as np

from harness.report import words
from harness.report.frame import Frame
from harness.report.series import Axis, Floats, Latency, Marks, Rates

TABLE_ROWS = 24


def timeline_told(frame: Frame, rates: Rates, queue: Floats) -> str:
    """Return the timeline in sentences."""
    kept = rates.sent[rates.sent > 0]
    parts = [
        f"{words.plural(len(rates.sent), 'step')} of {frame.axis.width_s:g} s.",
        f"Sent: {_range(kept)} while the load ran.",
        f"Acked: {_range(rates.acked)}.",
    ]
    if rates.persisted is not None:
        parts.append(f"Persisted: {_range(rates.persisted)}.")
    if np.isfinite(queue).any():
        at = int(np.nanargmax(queue))
        parts.append(
            f"The queue was longest, {words.count(queue[at])} events, at "
            f"{frame.axis.edges_s[at]:.1f} s."
        )
    return " ".join([*parts, frame.told()]).strip()


def _range(values: Floats) -> str:
    if not len(values):
        return "none"
    low, high = float(values.min()), float(values.max())
    return f"{words.count(low)} to {words.count(high)} events a second"


def latency_told(frame: Frame, latency: Latency) -> str:
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
        f"{frame.told()}"
    ).strip()


def lost_told(frame: Frame, marks: Marks, rows_are: str) -> str:
    """Return the lost events in sentences."""
    if not marks.events:
        return "No event was lost."
    first, last = float(marks.at_s.min()), float(marks.at_s.max())
    most = sorted(marks.rows, key=lambda row: -row[1])[:5]
    by_row = ", ".join(f"{name} {words.count(number)}" for name, number in most if number)
    return (
        f"{words.plural(marks.events, 'event')} lost, sent between {first:.2f} s and "
        f"{last:.2f} s; most by {rows_are}: {by_row}. {frame.told()}"
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
        told = queue[part][np.isfinite(queue[part])]
        persisted = None if rates.persisted is None else float(rates.persisted[part].mean())
        rows.append(
            (
                f"{axis.edges_s[first]:g}",
                words.count(float(rates.sent[part].mean())),
                words.count(float(rates.acked[part].mean())),
                words.count(persisted),
                words.count(float(told.max())) if len(told) else "no answer",
            )
        )
    return tuple(rows)


def latency_rows(axis: Axis, latency: Latency) -> tuple[tuple[str, ...], ...]:
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
