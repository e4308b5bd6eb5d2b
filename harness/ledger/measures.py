"""The figures by which a prediction is compared with a run, each by its name.

A measure takes what a run showed and returns a number, or None where the run does not show
it. Adding one is a function and its line in ``MEASURES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.ledger.records import Held, Records, Told, keys
from harness.model import Counts, Status


@dataclass(frozen=True, slots=True)
class Shown:
    """What a run showed.

    Attributes:
        told: intents and outcomes.
        held: what was persisted.
        counts: the classes of the ledger.
        fault: when the first fault struck and when it was healed, ns; None without.
    """

    told: Told
    held: Held
    counts: Counts
    fault: tuple[int, int | None] | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: how it is read off a run, and in which unit."""

    read: Callable[[Shown], float | None]
    unit: str


def _class(name: str) -> Measure:
    return Measure(lambda shown: float(getattr(shown.counts, name)), "events")


def _first_refusal_s(shown: Shown) -> float | None:
    """Return when the first refusal came, in seconds after the first event was due."""
    refused = shown.told.outcomes[shown.told.outcomes["status"] == Status.REFUSED]
    if not len(refused):
        return None
    return float(refused["done_ns"].min() - _began_ns(shown.told.intents)) / 1e9


def _first_refused_due_s(shown: Shown) -> float | None:
    """Return when the first event was due that was refused, in seconds after the first."""
    told = shown.told
    refused = told.outcomes[told.outcomes["status"] == Status.REFUSED]
    due = told.intents[np.isin(keys(told.intents), keys(refused))]
    if not len(due):
        return None
    return float(due["scheduled_ns"].min() - _began_ns(told.intents)) / 1e9


def _struck_s(shown: Shown) -> float | None:
    """Return when the first fault struck, in seconds after the first event was due."""
    if shown.fault is None or not len(shown.told.intents):
        return None
    return float(shown.fault[0] - _began_ns(shown.told.intents)) / 1e9


def _held_per_s(shown: Shown) -> float | None:
    """Return the rows persisted per second while the first fault held."""
    if shown.fault is None or shown.fault[1] is None or shown.fault[1] <= shown.fault[0]:
        return None
    at_ns: npt.NDArray[np.int64] = shown.held.rows["persisted_ns"]
    rows = int(((at_ns > shown.fault[0]) & (at_ns <= shown.fault[1])).sum())
    return rows / ((shown.fault[1] - shown.fault[0]) / 1e9)


def _held_s(shown: Shown) -> float | None:
    """Return how long the first fault held: of a rollout, how long it took."""
    if shown.fault is None or shown.fault[1] is None:
        return None
    return (shown.fault[1] - shown.fault[0]) / 1e9


def _outage_s(shown: Shown) -> float | None:
    """Return the longest time without a yes while events were due, in seconds."""
    acked = shown.told.outcomes[shown.told.outcomes["status"] == Status.ACKED]
    if not len(acked):
        return None
    due_ns = shown.told.intents["scheduled_ns"]
    within = np.clip(np.sort(acked["done_ns"]), due_ns.min(), due_ns.max())
    moments = np.concatenate([[due_ns.min()], within, [due_ns.max()]])
    return float(np.diff(moments).max()) / 1e9


def throughput_per_s(rows: Records) -> float | None:
    """Return the rows persisted per second between the first and the last."""
    at_ns: npt.NDArray[np.int64] = rows["persisted_ns"]
    if len(at_ns) < 2 or at_ns.min() == at_ns.max():
        return None
    return float((len(at_ns) - 1) / ((at_ns.max() - at_ns.min()) / 1e9))


def _began_ns(intents: Records) -> int:
    return int(intents["scheduled_ns"].min())


MEASURES: Mapping[str, Measure] = {
    **{name: _class(name) for name in Counts().as_dict()},
    "outage_s": Measure(_outage_s, "s"),
    "first_refusal_s": Measure(_first_refusal_s, "s"),
    "first_refused_due_s": Measure(_first_refused_due_s, "s"),
    "struck_s": Measure(_struck_s, "s"),
    "held_s": Measure(_held_s, "s"),
    "held_per_s": Measure(_held_per_s, "events/s"),
    "throughput_per_s": Measure(lambda shown: throughput_per_s(shown.held.rows), "events/s"),
}
