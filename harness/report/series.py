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

from harness.ledger.records import Held, Records, Told, keys
from harness.model import Status
from harness.report.saved import Probed

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


def axis(told: Told, last_ns: Sequence[int] = ()) -> Axis | None:
    """Return the axis of a run; None when nothing was sent.

    Args:
        told: intents and outcomes.
        last_ns: what else should be on it, e.g. the last row and the healing of a fault.
    """
    if not len(told.intents):
        return None
    zero_ns = int(told.intents["scheduled_ns"].min())
    ends_ns = [int(told.intents["sent_ns"].max()), *last_ns]
    if len(told.outcomes):
        ends_ns.append(int(told.outcomes["done_ns"].max()))
    end_s = max(LEAST_BIN_S, (max(ends_ns) - zero_ns) / 1e9)
    width_s = next((w for w in _WIDTHS_S if end_s / w < MAX_BINS), end_s / MAX_BINS)
    count = int(end_s / width_s) + 1
    return Axis(zero_ns, np.arange(count + 1, dtype=np.float64) * width_s)


@dataclass(frozen=True, slots=True)
class Rates:
    """Events per second, one value a bin; ``persisted`` is None where rows have no time."""

    sent: Floats
    acked: Floats
    persisted: Floats | None


def rates(told: Told, held: Held | None, on: Axis) -> Rates:
    """Return how many events were sent, acked and persisted per second.

    Args:
        told: intents and outcomes.
        held: rows whose times are real, or None.
        on: the axis.
    """
    acked = told.outcomes["done_ns"][told.outcomes["status"] == Status.ACKED]
    return Rates(
        _per_second(told.intents["sent_ns"], on),
        _per_second(acked, on),
        None if held is None else _per_second(held.rows["persisted_ns"], on),
    )


def _per_second(at_ns: npt.NDArray[np.int64], on: Axis) -> Floats:
    counts, _ = np.histogram(on.seconds(at_ns), on.edges_s)
    return np.asarray(counts / on.width_s, np.float64)


def queue(probed: Probed, on: Axis) -> Floats:
    """Return the longest queue seen in each bin; NaN where the target did not tell."""
    at_s = on.seconds(probed.at_ns)
    longest = np.full(len(on.edges_s) - 1, np.nan)
    told = probed.ok & ~np.isnan(probed.queue_length) & (at_s >= 0) & (at_s < on.end_s)
    np.fmax.at(longest, on.bins(at_s[told]), probed.queue_length[told])
    return longest


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of acked events by the time at which they were due.

    Attributes:
        at_s: middle of each bin that has any.
        ms: shape (percentiles, bins), milliseconds, for ``PERCENTILES``.
        events: how many each bin holds.
    """

    at_s: Floats
    ms: Floats
    events: npt.NDArray[np.intp]


def latency(told: Told, on: Axis) -> Latency:
    """Return percentiles of the latency from the scheduled time to the yes."""
    # Fields are chosen, not whole records, which would be a second copy of them all.
    acked = told.outcomes["status"] == Status.ACKED
    ids = keys(told.outcomes)[acked]
    due_ns = _of_each(told.intents["scheduled_ns"], told.intents, ids)
    late_ms = (told.outcomes["done_ns"][acked] - due_ns) / 1e6
    bins = on.bins(on.seconds(due_ns))
    order = np.argsort(bins, kind="stable")
    present, first, count = np.unique(bins[order], return_index=True, return_counts=True)
    ordered = late_ms[order]
    parts = [ordered[at : at + n] for at, n in zip(first, count, strict=True)]
    ms = [np.percentile(part, PERCENTILES) for part in parts]
    return Latency(
        on.middles_s[present],
        np.array(ms, np.float64).reshape(-1, len(PERCENTILES)).T,
        count.astype(np.intp),
    )


@dataclass(frozen=True, slots=True)
class Marks:
    """Lost events as marks in a plane of time and row.

    Attributes:
        at_s: when the event was sent; ``row``: index into ``rows``.
        rows: what the rows stand for, with the number of lost events in each.
        events: how many events the marks stand for.
        each_is_one: every event has a mark of its own.
    """

    at_s: Floats
    row: npt.NDArray[np.intp]
    rows: tuple[tuple[str, int], ...]
    events: int
    each_is_one: bool


def marks(told: Told, lost: Records, row: npt.NDArray[np.intp], names: Sequence[str]) -> Marks:
    """Return a mark for each lost event, or for each cell of a grid where there are too many.

    Args:
        told: intents and outcomes.
        lost: ids of the lost events, dtype PAIR.
        row: for each, index into ``names``.
        names: of the rows, at most ``MAX_ROWS``.
    """
    zero_ns = int(told.intents["scheduled_ns"].min()) if len(told.intents) else 0
    at_s = (_of_each(told.intents["sent_ns"], told.intents, keys(lost)) - zero_ns) / 1e9
    counts = np.bincount(row, minlength=len(names))
    rows = tuple((name, int(n)) for name, n in zip(names, counts, strict=True))
    if len(lost) <= MAX_MARKS:
        return Marks(at_s, row, rows, len(lost), each_is_one=True)
    cells = MAX_MARKS // max(1, len(names))
    width_s = max(1e-9, float(np.ptp(at_s))) / cells
    place = np.floor((at_s - at_s.min()) / width_s).clip(0, cells - 1).astype(np.intp)
    taken = np.unique(row * cells + place)
    middles_s = at_s.min() + (taken % cells + 0.5) * width_s
    return Marks(middles_s, taken // cells, rows, len(lost), each_is_one=False)


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


def _of_each(
    values: npt.NDArray[np.int64], intents: Records, ids: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Return the value of each id's intent; ids as ``ledger.records.keys`` has them."""
    sent = keys(intents)
    order = np.argsort(sent, kind="stable")
    at = np.searchsorted(sent, ids, sorter=order)
    return np.asarray(values[order[at]], np.int64)
