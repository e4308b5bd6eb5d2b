"""Arrays for the charts of a run: pure functions over what producers and target said.

Time runs in seconds from the moment at which the first event was due. Every series is
bounded by a number of bins or marks, so a page of a million events is as large as one of
a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossmeter.judge.ledger.ascending import Ascending, Numbers, percentiles_of
from lossmeter.judge.ledger.times import Times
from lossmeter.record.arrays import Records
from lossmeter.report.saved import Probed

Floats = npt.NDArray[np.float64]

MAX_BINS = 160
MAX_MARKS = 4000
MAX_ROWS = 48
# Below this a bin holds so few events that its rate is noise.
LEAST_BIN_S = 0.25
_WIDTHS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
PERCENTILES = (50.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Axis:
    """The time that all charts of a run share.

    Attributes:
        zero_ns: wall clock at 0 s.
        edges_s: edges of the bins, all of the same width.
    """

    zero_ns: int
    edges_s: Floats

    @property
    def width_s(self) -> float:
        """Return the width of a bin."""
        return float(self.edges_s[1] - self.edges_s[0])

    @property
    def end_s(self) -> float:
        """Return the end of the last bin."""
        return float(self.edges_s[-1])

    @property
    def middles_s(self) -> Floats:
        """Return the middle of each bin."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2

    def seconds(self, at_ns: npt.NDArray[np.int64]) -> Floats:
        """Return wall clock as seconds on this axis."""
        return np.asarray((at_ns - self.zero_ns) / 1e9, np.float64)

    def bins(self, at_s: Floats) -> npt.NDArray[np.intp]:
        """Return the bin of each instant; -1 and the number of bins lie outside."""
        return np.asarray(np.floor(at_s / self.width_s), np.intp).clip(-1, len(self.edges_s) - 1)


def axis(times: Times, last_ns: Sequence[int] = ()) -> Axis | None:
    """Return the axis of a run; None when nothing was sent."""
    zero_ns, last_sent_ns = times.due_ns.first, times.sent_ns.last
    if zero_ns is None or last_sent_ns is None:
        return None
    end_ns = max(last_sent_ns, times.last_answer_ns or last_sent_ns, *last_ns)
    end_s = max(LEAST_BIN_S, (end_ns - zero_ns) / 1e9)
    width_s = next((w for w in _WIDTHS_S if end_s / w < MAX_BINS), end_s / MAX_BINS)
    count = int(end_s / width_s) + 1
    return Axis(zero_ns, np.arange(count + 1, dtype=np.float64) * width_s)


@dataclass(frozen=True, slots=True)
class Rates:
    """Events per second, one value a bin; ``persisted`` is None where rows have no time."""

    sent: Floats
    acked: Floats
    persisted: Floats | None


def rates(times: Times, on: Axis) -> Rates:
    """Return how many events were sent, acked and persisted per second."""
    return Rates(
        _per_second(times.sent_ns, on),
        _per_second(times.acked_ns, on),
        None if times.persisted_ns is None else _per_second(times.persisted_ns, on),
    )


def _per_second(instants: Ascending, on: Axis) -> Floats:
    counts = np.zeros(len(on.edges_s) - 1, np.int64)
    for stretch in instants.stretches():
        at_s = on.seconds(stretch)
        below = at_s.searchsorted(on.edges_s)
        # The last bin has its end in it, as NumPy's histograms have.
        below[-1] = at_s.searchsorted(on.end_s, side="right")
        counts += np.diff(below)
    return np.asarray(counts / on.width_s, np.float64)


def queue(probed: Probed, on: Axis) -> Floats:
    """Return the longest queue seen in each bin; NaN where the target did not tell."""
    at_s = on.seconds(probed.at_ns)
    longest = np.full(len(on.edges_s) - 1, np.nan)
    reported = probed.ok & ~np.isnan(probed.queue_length) & (at_s >= 0) & (at_s < on.end_s)
    np.fmax.at(longest, on.bins(at_s[reported]), probed.queue_length[reported])
    return longest


@dataclass(frozen=True, slots=True)
class LatencySeries:
    """Latency of acked events by the time at which they were due.

    Attributes:
        at_s: middle of each bin that has any.
        ms: shape (percentiles, bins), milliseconds, for ``PERCENTILES``.
        events: how many each bin holds.
    """

    at_s: Floats
    ms: Floats
    events: npt.NDArray[np.intp]


# A bin and a latency as one number, which sorts by the bin first.
_LATENCY_BITS = 54
_LONGEST_NS = (1 << _LATENCY_BITS - 1) - 1


def latency(times: Times, on: Axis) -> LatencySeries:
    """Return percentiles of the latency from the scheduled time to the ack."""
    ordered, counts = Ascending(times.keep), np.zeros(len(on.edges_s) + 1, np.intp)
    for due_ns, latency_ns in times.acks():
        bins = on.bins(on.seconds(due_ns)) + 1
        counts += np.bincount(bins, minlength=len(counts))
        clipped = np.clip(latency_ns, -_LONGEST_NS, _LONGEST_NS) + _LONGEST_NS
        ordered.add((bins.astype(np.int64) << _LATENCY_BITS) + clipped)
    present = np.flatnonzero(counts)
    begins = (np.cumsum(counts) - counts)[present]
    zeros: Numbers = (present.astype(np.int64) << _LATENCY_BITS) + _LONGEST_NS
    each = len(PERCENTILES)
    found_ns = percentiles_of(
        ordered,
        np.tile(PERCENTILES, len(present)).tolist(),
        np.repeat(begins, each),
        np.repeat(counts[present], each),
        np.repeat(zeros, each),
    )
    # What lies outside of the axis is at its ends.
    middles_s = on.middles_s[np.clip(present - 1, 0, len(on.middles_s) - 1)]
    return LatencySeries(middles_s, found_ns.reshape(-1, each).T / 1e6, counts[present])


@dataclass(frozen=True, slots=True)
class MarkSeries:
    """Lost events as marks in a plane of time and row.

    Attributes:
        at_s: when the event was sent; ``row``: index into ``rows``.
        rows: what the rows stand for, with the number of lost events in each.
        each_is_one: every event has a mark of its own.
    """

    at_s: Floats
    row: npt.NDArray[np.intp]
    rows: tuple[tuple[str, int], ...]
    events: int
    each_is_one: bool


def marks(at_s: Floats, row: npt.NDArray[np.intp], names: Sequence[str]) -> MarkSeries:
    """Return a mark for each lost event, or for each cell of a grid where there are too many."""
    counts = np.bincount(row, minlength=len(names))
    rows = tuple((name, int(n)) for name, n in zip(names, counts, strict=True))
    if len(at_s) <= MAX_MARKS:
        return MarkSeries(at_s, row, rows, len(at_s), each_is_one=True)
    cells = MAX_MARKS // max(1, len(names))
    width_s = max(1e-9, float(np.ptp(at_s))) / cells
    place = np.floor((at_s - at_s.min()) / width_s).clip(0, cells - 1).astype(np.intp)
    taken = np.unique(row * cells + place)
    middles_s = at_s.min() + (taken % cells + 0.5) * width_s
    return MarkSeries(middles_s, taken // cells, rows, len(at_s), each_is_one=False)


def by_producer(lost: Records) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Return the row of each lost event by its producer, and the names of the rows.

    Many producers share rows, in the order of their numbers.
    """
    producers = lost["producer"].astype(np.int64)
    if not len(producers):
        return np.empty(0, np.intp), []
    count = int(producers.max()) + 1
    share = -(-count // MAX_ROWS)
    names = [
        f"{first}" if share == 1 else f"{first}–{min(first + share, count) - 1}"
        for first in range(0, count, share)
    ]
    return (producers // share).astype(np.intp), names
