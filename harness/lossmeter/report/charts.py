"""The charts of a run: each drawn from arrays, said in words, and there as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lossmeter.report import words
from lossmeter.report.drawing import (
    ACCENT,
    INK,
    LOSS,
    MUTED,
    SECOND,
    WARN,
    Chart,
    Margins,
    Size,
    draw,
    place,
)
from lossmeter.report.frame import Frame
from lossmeter.report.series import PERCENTILES, Floats, LatencySeries, MarkSeries, Rates
from lossmeter.report.telling import (
    latency_in_words,
    latency_rows,
    lost_in_words,
    timeline_in_words,
    timeline_rows,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGGER = 0.22
LEFT_PX = {"wide": 64, "narrow": 54}


def timeline(frame: Frame, rates: Rates, queue: Floats) -> Chart:
    """Return what was sent, acked and persisted per second, and the queue below it."""
    reported = timeline_in_words(frame, rates, queue)
    has_queue = bool(np.isfinite(queue).any())

    def paint(figure: Figure, size: Size) -> None:
        top, bottom = _stacked(figure, size, has_queue=has_queue)
        at_s = frame.axis.edges_s
        top.stairs(rates.sent, at_s, color=MUTED, linewidth=1.1, linestyle=(0, (4, 2)))
        top.stairs(rates.acked, at_s, color=ACCENT, linewidth=1.8)
        if rates.persisted is not None:
            top.stairs(rates.persisted, at_s, color=SECOND, linewidth=1.8)
        _from_zero(top)
        top.set_ylabel("events / s")
        _on_time(top, frame, size, label=bottom is None)
        if bottom is not None:
            bottom.stairs(np.nan_to_num(queue), at_s, fill=True, color=INK, alpha=0.14)
            bottom.stairs(queue, at_s, color=INK, linewidth=1.2)
            _from_zero(bottom)
            bottom.set_ylabel("queued events")
            _on_time(bottom, frame, size, label=True)
            _name_bands(bottom, frame, size, named=False)
        _name_bands(top, frame, size, named=True)

    return Chart(
        name="timeline",
        title="Timeline",
        reported=reported,
        pictures=draw("timeline", reported, lambda _: 390 if has_queue else 250, paint),
        note=(
            f"Rates are means over {frame.axis.width_s:g} s; the queue is the longest seen by the "
            "health probe in that time, and missing where the target did not answer."
        ),
        legend=(
            ("sent", "muted", "dashed"),
            ("acked", "accent", "solid"),
            *([("persisted", "second", "solid")] if rates.persisted is not None else []),
            *([("longest queue", "ink", "solid")] if has_queue else []),
            *frame.legend(),
        ),
        head=("from, s", "sent/s", "acked/s", "persisted/s", "longest queue"),
        rows=timeline_rows(frame.axis, rates, queue),
    )


def latencies(frame: Frame, latency: LatencySeries) -> Chart:
    """Return percentiles of the latency over the time at which events were due."""
    reported = latency_in_words(frame, latency)
    looks = ((MUTED, 1.4), (ACCENT, 1.8), (INK, 1.2))

    def paint(figure: Figure, size: Size) -> None:
        axes = figure.add_subplot()
        place(figure, axes, size, Margins(LEFT_PX[size.name], 34, 44))
        for percentile, ms, (colour, width) in zip(PERCENTILES, latency.ms, looks, strict=True):
            style = (0, (3, 2)) if percentile == PERCENTILES[-1] else "solid"
            at_s, shown_ms = _broken(latency.at_s, ms, frame.axis.width_s)
            axes.plot(
                at_s,
                np.maximum(shown_ms, 1e-3),
                color=colour,
                linewidth=width,
                linestyle=style,
                marker="o",
                markersize=2.2,
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_major_formatter(FuncFormatter(_milliseconds))
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_ylim()
        # Less than a decade would show ticks without numbers.
        axes.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))
        _on_time(axes, frame, size, label=True)
        _name_bands(axes, frame, size, named=True)

    return Chart(
        name="latency",
        title="Latency of acked events",
        reported=reported,
        pictures=draw("latency", reported, lambda _: 280, paint),
        note=(
            "From the time at which an event was due to its ack, so a stall counts in full; by "
            f"the due time, in steps of {frame.axis.width_s:g} s, on a logarithmic scale. Where "
            "a step holds fewer than 1,000 events, its p99.9 is close to the longest."
        ),
        legend=(
            ("p50", "muted", "solid"),
            ("p99", "accent", "solid"),
            ("p99.9", "ink", "dashed"),
            *frame.legend(),
        ),
        head=("due from, s", "events", "p50", "p99", "p99.9"),
        rows=latency_rows(frame.axis, latency),
    )


def lost_events(frame: Frame, marks: MarkSeries, rows_are: str) -> Chart:
    """Return a dot for each lost event by the time it was sent and its row."""
    reported = lost_in_words(frame, marks, rows_are)
    names = [name for name, _ in marks.rows]
    # A name is data: a long one must not push the picture aside.
    shown = [name if len(name) <= 22 else f"{name[:21]}…" for name in names]
    longest = max((len(name) for name in shown), default=0) if rows_are == "stage" else 0

    def height_px(size: Size) -> int:
        step = 30 if rows_are == "stage" else max(5, min(17, 300 // max(1, len(names))))
        return 90 + step * max(2, len(names)) - (10 if size.narrow else 0)

    def paint(figure: Figure, size: Size) -> None:
        axes = figure.add_subplot()
        left_px = max(LEFT_PX[size.name], round(longest * size.text_px * 0.56) + 16)
        place(figure, axes, size, Margins(left_px, 34, 44))
        # Strokes of no length with round ends: one path for all dots.
        x = np.column_stack([marks.at_s, marks.at_s, np.full(len(marks.at_s), np.nan)]).ravel()
        # Dots close in time stand apart by a part of their row's height.
        y = np.repeat(marks.row + STAGGER * (np.arange(len(marks.row)) % 3 - 1), 3)
        width = 3.4 if not size.narrow else 2.4
        (dots,) = axes.plot(x, y, color=LOSS, linewidth=width, alpha=0.85)
        dots.get_path().should_simplify = False
        _on_time(axes, frame, size, label=True)
        _name_rows(axes, shown, rows_are)
        _name_bands(axes, frame, size, named=True)

    one = (
        "One dot for each lost event"
        if marks.each_is_one
        else (
            f"{words.count(len(marks.at_s))} dots for {words.count(marks.events)} lost events: "
            "each stands for all that were sent at its time"
        )
    )
    return Chart(
        name="lost",
        title="Lost events",
        reported=reported,
        pictures=draw("lost", reported, height_px, paint),
        note=f"{one}, at the time it was sent, by {rows_are}.",
        legend=(("lost event", "loss", "dot"), *frame.legend()),
        head=(rows_are, "lost events"),
        rows=tuple((name, words.count(number)) for name, number in marks.rows if number),
    )


# What the charts share.


def _stacked(figure: Figure, size: Size, *, has_queue: bool) -> tuple[Axes, Axes | None]:
    left_px = LEFT_PX[size.name]
    if not has_queue:
        axes = figure.add_subplot()
        place(figure, axes, size, Margins(left_px, 34, 44))
        return axes, None
    top, bottom = figure.add_subplot(2, 1, 1), figure.add_subplot(2, 1, 2)
    place(figure, top, size, Margins(left_px, 34, 178))
    place(figure, bottom, size, Margins(left_px, 240, 44))
    return top, bottom


def _from_zero(axes: Axes) -> None:
    """Let an axis begin at 0, with room for the line at its top."""
    axes.set_ylim(0, max(1.0, axes.dataLim.ymax) * 1.08)


def _on_time(axes: Axes, frame: Frame, size: Size, *, label: bool) -> None:
    """Dress an axes whose x is the run's time."""
    axes.set_xlim(0, frame.axis.end_s)
    axes.grid(visible=True, axis="y")
    axes.tick_params(length=3, width=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5 if size.narrow else 10, steps=[1, 2, 5, 10]))
    if not isinstance(axes.yaxis.get_major_locator(), LogLocator):
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.tick_params(axis="x", labelbottom=label)
    if label:
        axes.set_xlabel("seconds since the first event was due" if not size.narrow else "seconds")


def _name_bands(axes: Axes, frame: Frame, size: Size, *, named: bool) -> None:
    """Shade the faults and mark the alerts; name them above the axes."""
    least_s = frame.axis.end_s * 0.002
    faults, alerts = _Names(axes, size, row=0), _Names(axes, size, row=1)
    for band in frame.bands:
        end_s = max(band.end_s, band.begin_s + least_s)
        axes.axvspan(band.begin_s, end_s, color=LOSS, alpha=0.16, linewidth=0)
        axes.axvline(band.begin_s, color=LOSS, linewidth=1)
        if named:
            faults.add(band.begin_s, band.name, LOSS)
    for moment in frame.moments:
        axes.axvline(moment.at_s, color=WARN, linewidth=1.2, linestyle=(0, (2, 2)))
        if named:
            alerts.add(moment.at_s, f"▲ {moment.name}", WARN)


class _Names:
    """A row of names above an axes; one without room is left to the tables and the words."""

    def __init__(self, axes: Axes, size: Size, row: int) -> None:
        self._axes = axes
        self._letter_px = size.text_px * 0.58
        self._width_px = axes.get_position().width * size.width_px
        self._above_px = 4 + row * (size.text_px + 2)
        self._taken_px: list[tuple[float, float]] = []

    def add(self, at_s: float, name: str, colour: str) -> None:
        """Write a name at its time: to the right of it, or else to the left."""
        at_px = at_s / self._axes.get_xlim()[1] * self._width_px
        long_px = len(name) * self._letter_px
        for side, begin_px in (("left", at_px), ("right", at_px - long_px)):
            if self._is_free(begin_px, begin_px + long_px):
                self._taken_px.append((begin_px, begin_px + long_px))
                self._axes.annotate(
                    name,
                    (at_s, 1),
                    (0, self._above_px),
                    xycoords=self._axes.get_xaxis_transform(),
                    textcoords="offset pixels",
                    color=colour,
                    ha=side,
                    annotation_clip=False,
                )
                return

    def _is_free(self, begin_px: float, end_px: float) -> bool:
        inside = begin_px >= 0 and end_px <= self._width_px + 6
        return inside and all(begin_px > b + 6 or end_px < a - 6 for a, b in self._taken_px)


def _name_rows(axes: Axes, names: Sequence[str], rows_are: str) -> None:
    count = len(names)
    axes.set_ylim(count - 0.4, -0.6)
    if rows_are == "stage":
        axes.set_yticks(range(count), names)
    else:
        step = max(1, count // 8)
        axes.set_yticks(range(0, count, step), names[::step])
        axes.set_ylabel(rows_are)


def _broken(at_s: Floats, values: Floats, width_s: float) -> tuple[Floats, Floats]:
    """Return a line that breaks where bins are missing, rather than to bridge them."""
    after_gap = np.flatnonzero(np.diff(at_s) > 1.5 * width_s) + 1
    return np.insert(at_s, after_gap, np.nan), np.insert(values, after_gap, np.nan)


def _milliseconds(value: float, _: int) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
