"""Names the lost events with their times, as many as a report can show."""

from __future__ import annotations

import numpy as np

from harness.ledger.records import Ledger, Records, Told
from harness.ledger.space import Space, chunks
from harness.model import Status

LOST = np.dtype([("producer", "<u4"), ("sequence", "<u8"), ("sent_ns", "<i8"), ("done_ns", "<i8")])


def lost_events(told: Told, ledger: Ledger, limit: int) -> Records:
    """Return the first lost events, by producer and sequence, with when each was sent and acked.

    Args:
        told: the journals that the ledger was made from.
        ledger: what names the lost.
        limit: events at most.

    Returns:
        Shape (min(limit, lost),), dtype LOST; times in nanoseconds since the epoch.
    """
    events = np.zeros(min(limit, len(ledger.lost)), LOST)
    for name in ("producer", "sequence"):
        events[name] = ledger.lost[name][: len(events)]
    space = Space(told.intents)
    entry = np.full(space.size, -1, np.intp)
    entry[space.places(events)] = np.arange(len(events))
    for part in chunks(len(told.intents)):
        intents = told.intents[part]
        at = entry[space.places(intents)]
        events["sent_ns"][at[at >= 0]] = intents["sent_ns"][at >= 0]
    events["done_ns"] = np.iinfo(np.int64).max
    for part in chunks(len(told.outcomes)):
        acked = told.outcomes[part][told.outcomes["status"][part] == Status.ACKED]
        at = entry[space.places(acked)]
        np.minimum.at(events["done_ns"], at[at >= 0], acked["done_ns"][at >= 0])
    return events
