"""Finds the events that overtook an earlier one of their producer."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossmeter.judge.ledger.layout import Layout
from lossmeter.judge.ledger.space import NOWHERE, Flags, Places, Ranks, chunks
from lossmeter.model import Status
from lossmeter.record.arrays import Held, Records


@dataclass(frozen=True, slots=True)
class EventOrder:
    """In which order events were sent and persisted; one entry for each place."""

    position: Ranks
    acked: Flags


def find_reordered(laid: Layout, order: EventOrder, held: Held) -> Places:
    """Return the events that overtook an earlier acked one.

    Times are replaced by ranks: sent_rank counts sends, and ack_rank says how many sends
    were not later than the ack, so A was acked before B was sent exactly when
    ack_rank(A) <= sent_rank(B).
    """
    found = [np.empty(0, np.intp)]
    if not held.positions_measured:
        return found[0]
    sent_rank, sends = _sent_ranks(laid.operations.intents, laid.intent_at)
    pairs = [_suspects(p, order, sent_rank) for p in laid.space.slices()]
    pairs = [(overtaken, overtaking) for overtaken, overtaking in pairs if len(overtaken)]
    if not pairs:
        return found[0]
    wanted = np.concatenate([overtaken for overtaken, _ in pairs])
    ack_rank = _ack_ranks(laid, sends, wanted)
    for overtaken, overtaking in pairs:
        by_ack = overtaken[np.argsort(ack_rank[overtaken], kind="stable")]
        latest = np.maximum.accumulate(order.position[by_ack])
        before = np.searchsorted(ack_rank[by_ack], sent_rank[overtaking], side="right")
        late = before > 0
        late[late] = latest[before[late] - 1] > order.position[overtaking[late]]
        found.append(overtaking[late])
    return np.concatenate(found)


def _suspects(producer: slice, order: EventOrder, sent_rank: Ranks) -> tuple[Places, Places]:
    """Return the acked events persisted after a later sent one, and those later sent ones.

    Whatever is reordered is among them, and where order is kept they are few.
    """
    here = np.flatnonzero(order.position[producer] != NOWHERE) + producer.start
    sends = sent_rank[here]
    if (sends[1:] < sends[:-1]).any():
        here = here[np.argsort(sends, kind="stable")]
    position = order.position[here]
    latest_before = np.maximum.accumulate(position[:-1])
    earliest_after = np.minimum.accumulate(position[:0:-1])[::-1]
    overtaken = here[:-1][position[:-1] > earliest_after]
    return overtaken[order.acked[overtaken]], here[1:][position[1:] < latest_before]


def _sent_ranks(intents: Records, intent_at: Ranks) -> tuple[Ranks, npt.NDArray[np.int64]]:
    """Return each event's rank by time of sending, and these times in order."""
    order = sorting(intents["sent_ns"])
    if order is None:
        return intent_at, intents["sent_ns"]
    rank_of_intent = np.empty(len(intents), np.uint32)
    rank_of_intent[order] = np.arange(len(intents), dtype=np.uint32)
    ranks = np.full(len(intent_at), NOWHERE)
    sent = intent_at != NOWHERE
    ranks[sent] = rank_of_intent[intent_at[sent]]
    return ranks, intents["sent_ns"][order]


def _ack_ranks(laid: Layout, sends: npt.NDArray[np.int64], wanted: Places) -> Ranks:
    """Return the ack ranks of the wanted places; of all others nothing is said."""
    outcomes = laid.operations.outcomes
    ranks = np.full(laid.space.size, NOWHERE)
    chosen = np.zeros(laid.space.size, bool)
    chosen[wanted] = True
    for part in chunks(len(outcomes)):
        places = laid.outcome_at[part]
        # Only a yes is an ack: an earlier silence about the same event promised nothing.
        here = chosen[places] & (outcomes["status"][part] == Status.ACKED)
        if here.any():
            done = outcomes["done_ns"][part][here]
            # Outcomes come nearly in order: a short stretch of the sends is enough to search.
            low = bisect.bisect_right(sends, done.min())
            high = bisect.bisect_right(sends, done.max())
            not_later = low + np.searchsorted(sends[low:high], done, side="right")
            np.minimum.at(ranks, places[here], not_later.astype(np.uint32))
    return ranks


def sorting(keys: npt.NDArray[np.int64]) -> Places | None:
    """Return the order that sorts the keys; None when they are sorted as they are."""
    for part in chunks(len(keys)):
        piece = keys[part.start : part.stop + 1]
        if (piece[1:] < piece[:-1]).any():
            return np.argsort(keys, kind="stable")
    return None
