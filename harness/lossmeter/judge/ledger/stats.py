"""Figures of a run beside its classes: rates, lags, latencies, recovery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossmeter.judge.ledger.ascending import Ascending
from lossmeter.judge.ledger.times import Times

# An interruption is longer than this, and than twice the longest of this many gaps before it.
_SHORTEST_NS = 100_000_000
_BEFORE = 400


@dataclass(frozen=True, slots=True)
class LoadStats:
    """How a load went.

    Attributes:
        rate_kept_per_s: events sent per second between the first and the last.
        lag_p99_ms, lag_max_ms: how much later than scheduled events were sent.
        latency_p50_ms, latency_p99_ms, latency_p999_ms: from the scheduled time to the
            ack, of acked events; so a stall of the target counts in full.
    """

    rate_kept_per_s: float
    lag_p99_ms: float
    lag_max_ms: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_p999_ms: float | None


def load_figures(times: Times) -> LoadStats | None:
    """Return the figures of a load; None when fewer than two events were sent."""
    sent = times.sent_ns
    if len(sent) < 2 or sent.first is None or sent.last is None:
        return None
    (lag_p99_ns,) = times.lag_ns.percentiles([99])
    p50, p99, p999 = _latencies_ms(times.latency_ns)
    return LoadStats(
        rate_kept_per_s=round((len(sent) - 1) / (max(1, sent.last - sent.first) / 1e9), 2),
        lag_p99_ms=round(lag_p99_ns / 1e6, 3),
        lag_max_ms=round((times.lag_ns.last or 0) / 1e6, 3),
        latency_p50_ms=p50,
        latency_p99_ms=p99,
        latency_p999_ms=p999,
    )


def _latencies_ms(latency_ns: Ascending) -> tuple[float | None, float | None, float | None]:
    if not len(latency_ns):
        return None, None, None
    p50, p99, p999 = (round(each / 1e6, 3) for each in latency_ns.percentiles([50, 99, 99.9]))
    return p50, p99, p999


def back_ns(instants: Ascending, begin_ns: int, end_ns: int, last_ns: int) -> int | None:
    """Return when a stream of instants went on after an interruption, in ns.

    The interruption is the longest gap that overlaps the time from ``begin_ns`` to ``end_ns``;
    what still comes in the first moments of a fault is therefore no recovery. A gap that is
    not clearly longer than those before the fault is none: then it is ``begin_ns``. Where
    nothing came before it, the first gap is that from ``begin_ns`` on.

    Args:
        instants: in ns.
        begin_ns: when the fault was ordered.
        end_ns: when it was healed.
        last_ns: until when there should have been some: a gap up to here is never ended.

    Returns:
        None when nothing came any more, or there was nothing at all.
    """
    before, longest_ns, again_ns = np.empty(0, np.int64), -1, begin_ns
    none_before = instants.first is not None and instants.first > begin_ns
    previous = np.array([begin_ns] if none_before else [], np.int64)
    for block in instants.blocks(begin_ns, _BEFORE + 1):
        before = np.concatenate([before, block[block < begin_ns]])[-_BEFORE - 1 :]
        ordered = np.concatenate([previous, block])
        starts, ends, previous = ordered[:-1], ordered[1:], block[-1:]
        if len(starts) and starts[0] >= max(begin_ns, end_ns):
            break
        within = (ends > begin_ns) & (starts < end_ns)
        if not within.any():
            continue
        gaps_ns = (ends - starts)[within]
        at = int(gaps_ns.argmax())
        if gaps_ns[at] > longest_ns:
            longest_ns, again_ns = int(gaps_ns[at]), int(ends[within][at])
    clear_ns = max(_SHORTEST_NS, 2 * int(np.diff(before).max(initial=0)))
    if instants.last is None or last_ns - instants.last > clear_ns:
        return None
    return again_ns if longest_ns > clear_ns else begin_ns
