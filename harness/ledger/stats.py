"""Figures of a run beside its classes: rates, lags, latencies, recovery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from harness.ledger.records import Told, keys
from harness.model import Status

Instants: TypeAlias = npt.NDArray[np.int64]

# An interruption is longer than this, and than twice the longest of this many gaps before it.
_SHORTEST_NS = 100_000_000
_BEFORE = 400


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """How a load went.

    Attributes:
        rate_kept_per_s: events sent per second between the first and the last.
        lag_p99_ms, lag_max_ms: how much later than scheduled events were sent.
        latency_p50_ms, latency_p99_ms, latency_p999_ms: from the scheduled time to the
            yes, of acked events; so a stall of the target counts in full.
    """

    rate_kept_per_s: float
    lag_p99_ms: float
    lag_max_ms: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_p999_ms: float | None


def load_figures(told: Told) -> LoadFigures | None:
    """Return the figures of a load; None when fewer than two events were sent."""
    intents = told.intents
    if len(intents) < 2:
        return None
    seconds = max(1, int(intents["sent_ns"].max() - intents["sent_ns"].min())) / 1e9
    lag_ms = (intents["sent_ns"] - intents["scheduled_ns"]) / 1e6
    latency = [round(float(x), 3) for x in _latencies(told)]
    p50, p99, p999 = latency or (None, None, None)
    return LoadFigures(
        rate_kept_per_s=round((len(intents) - 1) / seconds, 2),
        lag_p99_ms=round(float(np.percentile(lag_ms, 99)), 3),
        lag_max_ms=round(float(lag_ms.max()), 3),
        latency_p50_ms=p50,
        latency_p99_ms=p99,
        latency_p999_ms=p999,
    )


def acked_ns(told: Told) -> Instants:
    """Return when each yes arrived, in ns, in no order."""
    found: Instants = told.outcomes["done_ns"][told.outcomes["status"] == Status.ACKED]
    return found


def back_ns(instants: Instants, begin_ns: int, end_ns: int, last_ns: int) -> int | None:
    """Return when a stream of instants went on after an interruption, in ns.

    The interruption is the longest gap that overlaps the time from ``begin_ns`` to ``end_ns``;
    what still comes in the first moments of a fault is therefore no recovery. A gap that is
    not clearly longer than those before the fault is none: then it is ``begin_ns``.

    Args:
        instants: in ns, in no order.
        begin_ns: when the fault was ordered.
        end_ns: when it was healed.
        last_ns: until when there should have been some: a gap up to here is never ended.

    Returns:
        None when nothing came any more, or there was nothing at all.
    """
    if not len(instants):
        return None
    ordered = np.sort(instants)
    natural_ns = np.diff(ordered[ordered < begin_ns])[-_BEFORE:]
    clear_ns = max(_SHORTEST_NS, 2 * int(natural_ns.max(initial=0)))
    if last_ns - int(ordered[-1]) > clear_ns:
        return None
    starts, ends = ordered[:-1], ordered[1:]
    within = (ends > begin_ns) & (starts < end_ns)
    if not within.any():
        return begin_ns
    gaps = (ends - starts)[within]
    longest = int(gaps.argmax())
    return int(ends[within][longest]) if gaps[longest] > clear_ns else begin_ns


def sent_between(told: Told, begin_ns: int, end_ns: int) -> int:
    """Return how many events were sent from one instant to another."""
    sent_ns = told.intents["sent_ns"]
    return int(np.count_nonzero((sent_ns >= begin_ns) & (sent_ns <= end_ns)))


def _latencies(told: Told) -> npt.NDArray[np.float64]:
    # Fields are chosen, not whole records, which would be a second copy of them all.
    acked = told.outcomes["status"] == Status.ACKED
    if not acked.any():
        return np.empty(0)
    sent = keys(told.intents)
    order = np.argsort(sent, kind="stable")
    at = order[np.searchsorted(sent, keys(told.outcomes)[acked], sorter=order)]
    latency_ns = told.outcomes["done_ns"][acked] - told.intents["scheduled_ns"][at]
    return np.asarray(np.percentile(latency_ns, [50, 99, 99.9]) / 1e6)
