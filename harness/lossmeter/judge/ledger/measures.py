"""The figures by which a prediction is compared with a run, each by its name.

A measure takes what a run showed and returns a number, or None where the run does not show
it. Adding one is a function and its line in ``MEASURES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lossmeter.judge.ledger.times import Times
from lossmeter.model import Counts


@dataclass(frozen=True, slots=True)
class Shown:
    """What a run showed.

    Attributes:
        fault: when the first fault struck and when it was healed, ns; None without.
    """

    times: Times
    counts: Counts
    fault: tuple[int, int | None] | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: how it is read off a run, and in which unit."""

    read: Callable[[Shown], float | None]
    unit: str


def _class(name: str) -> Measure:
    return Measure(lambda shown: float(getattr(shown.counts, name)), "events")


def _after_begin_s(shown: Shown, at_ns: int | None) -> float | None:
    """Return an instant in seconds after the first event was due."""
    began_ns = shown.times.due_ns.first
    return None if at_ns is None or began_ns is None else (at_ns - began_ns) / 1e9


def _held_per_s(shown: Shown) -> float | None:
    """Return the rows persisted per second while the first fault held."""
    begin_ns, end_ns = shown.fault or (0, None)
    persisted_ns = shown.times.persisted_ns
    if persisted_ns is None or end_ns is None or end_ns <= begin_ns:
        return None
    return persisted_ns.between(begin_ns + 1, end_ns) / ((end_ns - begin_ns) / 1e9)


def _held_s(shown: Shown) -> float | None:
    """Return how long the first fault held: of a rollout, how long it took."""
    if shown.fault is None or shown.fault[1] is None:
        return None
    return (shown.fault[1] - shown.fault[0]) / 1e9


def _outage_s(shown: Shown) -> float | None:
    """Return the longest time without an ack while events were due, in seconds."""
    acked, due = shown.times.acked_ns, shown.times.due_ns
    if not len(acked) or due.first is None or due.last is None:
        return None
    before, longest_ns = np.array([due.first]), 0
    for block in acked.blocks():
        moments = np.concatenate([before, np.clip(block, due.first, due.last)])
        longest_ns = max(longest_ns, int(np.diff(moments).max()))
        before = moments[-1:]
    return max(longest_ns, due.last - int(before[0])) / 1e9


def _throughput_per_s(shown: Shown) -> float | None:
    """Return the rows persisted per second between the first and the last."""
    persisted_ns = shown.times.persisted_ns
    if persisted_ns is None:
        return None
    first, last = persisted_ns.first, persisted_ns.last
    if first is None or last is None or first == last:
        return None
    return (len(persisted_ns) - 1) / ((last - first) / 1e9)


MEASURES: Mapping[str, Measure] = {
    **{name: _class(name) for name in Counts().as_dict()},
    "outage_s": Measure(_outage_s, "s"),
    "first_refusal_s": Measure(lambda s: _after_begin_s(s, s.times.first_refusal_ns), "s"),
    "first_refused_due_s": Measure(lambda s: _after_begin_s(s, s.times.first_refused_due_ns), "s"),
    "struck_s": Measure(lambda s: _after_begin_s(s, s.fault[0] if s.fault else None), "s"),
    "held_s": Measure(_held_s, "s"),
    "held_per_s": Measure(_held_per_s, "events/s"),
    "throughput_per_s": Measure(_throughput_per_s, "events/s"),
}
