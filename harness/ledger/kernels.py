"""The loops of the ledger, compiled: one pass over each input, a few bytes for each event.

Only ``harness.ledger.compiled`` calls these. A uint64 beside an int64 would silently
become a float, so each is converted where they meet; indices that are unsigned spare the
check for negative ones. Compiled code is kept on disk, beside this file or
in Numba's own cache, so only the first use on a machine waits for the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from harness.ledger.space import NOWHERE, Places, Ranks

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def _compiled(kernel: _Kernel) -> _Kernel:
    # What comes back is called like the function it was made from.
    return cast("_Kernel", numba.njit(cache=True, nogil=True)(kernel))


Int64s = npt.NDArray[np.int64]
States = npt.NDArray[np.uint8]
Records = npt.NDArray[np.void]

# One byte for each event. The lowest two bits: what the producer was told.
NEVER_TOLD, REFUSED, UNKNOWN, ACKED = 0, 1, 2, 3
TOLD = 3
AGAIN, ALTERED, DEAD, PENDING = 4, 8, 16, 32
# Persisted after an event that was sent later; persisted before one that was sent earlier.
LATE, EARLY = 64, 128

# What ``classify`` leaves in the byte: the classes that name their events.
LOST, DUPLICATED, CORRUPTED, RESURRECTED = 1, 4, 8, 2

# Entries of the tally that ``classify`` returns.
(
    SENT_N,
    ACKED_N,
    REFUSED_N,
    UNKNOWN_N,
    DELIVERED_N,
    LOST_N,
    DEAD_N,
    PENDING_N,
    RECOVERED_N,
    RESURRECTED_N,
    DUPLICATED_N,
    CORRUPTED_N,
    PREFIX_N,
    MIDDLE_N,
    SUFFIX_N,
) = range(15)
TALLY = 15

_FIRST_ROOM = 1024


@_compiled
def _with_room(values: Int64s) -> Int64s:
    wider = np.empty(2 * len(values), np.int64)
    wider[: len(values)] = values
    return wider


@_compiled
def _place(producer: np.uint64, sequence: np.uint64, bases: Int64s) -> np.int64:
    """Return the place of an id, or -1 when it lies outside of what was minted.

    Both numbers are unsigned, so that one comparison is enough: negative ones are huge.
    """
    if producer >= np.uint64(len(bases) - 1):
        return np.int64(-1)
    base = bases[producer]
    if sequence >= np.uint64(bases[producer + np.uint64(1)] - base):
        return np.int64(-1)
    return np.int64(base + np.int64(sequence))


@_compiled
def survey(
    intents: Records,
    begin: int,
    bound: int,
    lengths: Int64s,
    last: Int64s,
    ordered: npt.NDArray[np.bool_],
) -> int:
    """Learn how many sequences each producer has, and whose come in the order of sending.

    Args:
        intents: are read from ``begin`` on.
        begin: where to go on.
        bound: the largest sequence that may be.
        lengths: for each producer there is room for, how many sequences it has.
        last: and when its last event was sent.
        ordered: and whether sequences and times came in order.

    Returns:
        The number of the first intent that does not fit, or how many intents there are.
    """
    room, most = np.uint64(len(lengths)), np.uint64(bound)
    for i in range(begin, len(intents)):
        producer, sequence = np.uint64(intents[i]["producer"]), intents[i]["sequence"]
        if producer >= room or sequence > most:
            return i
        sent, expected = intents[i]["sent_ns"], lengths[producer]
        if sequence == np.uint64(expected) and sent >= last[producer]:
            lengths[producer] = expected + 1
        else:
            ordered[producer] = False
            lengths[producer] = max(expected, np.int64(sequence) + 1)
        last[producer] = sent
    return len(intents)


@_compiled
def index_intents(intents: Records, bases: Int64s) -> tuple[Ranks, int]:
    """Return for each place the index of its intent, and how many came twice."""
    at = np.full(bases[-1], NOWHERE, np.uint32)
    twice = 0
    for i in range(len(intents)):
        place = bases[intents[i]["producer"]] + np.int64(intents[i]["sequence"])
        if at[place] != NOWHERE:
            twice += 1
        at[place] = i
    return at, twice


@_compiled
def read_rows(
    rows: Records,
    ranks: Ranks,
    low: int,
    intents: Records,
    at: Ranks,
    bases: Int64s,
    state: States,
    with_hashes: bool,
) -> tuple[Ranks, Places, int, bool]:
    """Go through the rows: where each event came first, which came again or altered.

    Args:
        rows: in any order.
        ranks: of each row by position; empty when ``position - low`` is to serve as rank.
        low: the lowest position that fits.
        intents: for their hashes.
        at: the index of each place's intent.
        bases: the first place of each producer.
        state: gets AGAIN and ALTERED.
        with_hashes: compare the payloads.

    Returns:
        The rank of each place's first row, the indices of foreign rows, how many rows came
        again, and whether all positions fitted.
    """
    position = np.full(len(at), NOWHERE, np.uint32)
    foreign, strangers, extra = np.empty(_FIRST_ROOM, np.int64), 0, 0
    for i in range(len(rows)):
        if len(ranks):
            rank = np.int64(ranks[i])
        else:
            rank = rows[i]["position"] - low
            if rank < 0 or rank >= NOWHERE:
                return position, foreign[:0], 0, False
        place = _place(np.uint64(rows[i]["producer"]), np.uint64(rows[i]["sequence"]), bases)
        if place < 0 or at[place] == NOWHERE:
            if strangers == len(foreign):
                foreign = _with_room(foreign)
            foreign[strangers] = i
            strangers += 1
            continue
        if position[place] != NOWHERE:
            state[place] |= AGAIN
            extra += 1
        position[place] = min(position[place], np.uint32(rank))
        if with_hashes and rows[i]["payload_hash"] != intents[at[place]]["payload_hash"]:
            state[place] |= ALTERED
    return position, foreign[:strangers].copy(), extra, True


@_compiled
def suspect(
    intents: Records,
    at: Ranks,
    position: Ranks,
    bases: Int64s,
    ordered: npt.NDArray[np.bool_],
    state: States,
) -> int:
    """Mark LATE and EARLY, and return how many are LATE.

    Whatever is reordered is EARLY, and what it has overtaken is LATE; where order is kept
    both are few.
    """
    late = 0
    for producer in range(len(bases) - 1):
        begin, end = bases[producer], bases[producer + 1]
        kept = ordered[producer]
        order = np.empty(0, np.int64) if kept else _by_time(intents, at[begin:end])
        latest = np.int64(-1)
        for step in range(end - begin):
            place = begin + (step if kept else order[step])
            rank = np.int64(position[place])
            if rank == NOWHERE:
                continue
            if rank < latest:
                state[place] |= EARLY
            latest = max(latest, rank)
        earliest = np.int64(NOWHERE)
        for step in range(end - begin - 1, -1, -1):
            place = begin + (step if kept else order[step])
            rank = np.int64(position[place])
            if rank == NOWHERE:
                continue
            if rank > earliest:
                state[place] |= LATE
                late += 1
            earliest = min(earliest, rank)
    return late


@_compiled
def _by_time(intents: Records, at: Ranks) -> Int64s:
    """Return the order in which one producer's events were sent; gaps come first."""
    sent = np.zeros(len(at), np.int64)
    for step in range(len(at)):
        sent[step] = intents[at[step]]["sent_ns"] if at[step] != NOWHERE else 0
    return np.argsort(sent, kind="mergesort")


@_compiled
def read_outcomes(
    outcomes: Records,
    begin: int,
    at: Ranks,
    bases: Int64s,
    state: States,
    acks: tuple[Places, Int64s],
    found: int,
) -> tuple[int, int, int]:
    """Go through the outcomes: the most binding one of each event, and the acks of LATE ones.

    Args:
        outcomes: are read from ``begin`` on.
        begin: where to go on.
        at: the index of each place's intent.
        bases: the first place of each producer.
        state: gets what each producer was told.
        acks: places of LATE events and times of their acks, filled from ``found`` on.
        found: how many acks there are already.

    Returns:
        The problem (0 for none, 1 for an outcome without an intent, 2 for a status that
        does not exist), how far it came, and how many acks there are now. It ends early,
        without a problem, when there is no more room for acks.
    """
    places, done = acks
    for i in range(begin, len(outcomes)):
        place = _place(np.uint64(outcomes[i]["producer"]), outcomes[i]["sequence"], bases)
        if place < 0 or at[place] == NOWHERE:
            return 1, i, found
        status = outcomes[i]["status"]
        if status > 2:
            return 2, i, found
        # Of ``Status``: unknown, acked, refused.
        told = np.uint8(UNKNOWN if status == 0 else (ACKED if status == 1 else REFUSED))
        before = state[place]
        if told == ACKED and before & LATE:
            if found == len(places):
                return 0, i, found
            places[found], done[found] = place, outcomes[i]["done_ns"]
            found += 1
        if told > before & np.uint8(TOLD):
            state[place] = (before & ~np.uint8(TOLD)) | told
    return 0, len(outcomes), found


@_compiled
def overtaking(
    producers: Int64s,
    acked_ns: Int64s,
    late_ranks: Ranks,
    by: Int64s,
    sent_ns: Int64s,
    early_ranks: Ranks,
) -> npt.NDArray[np.bool_]:
    """Return which EARLY events were sent after the ack of one persisted after them.

    Args:
        producers: of the LATE events, ordered by producer and time of the ack.
        acked_ns: their acks.
        late_ranks: their ranks among the rows.
        by: the producers of the EARLY events, ordered by producer and time of sending.
        sent_ns: when those were sent.
        early_ranks: their ranks among the rows.
    """
    found = np.zeros(len(by), np.bool_)
    i, latest = 0, np.int64(-1)
    for j in range(len(by)):
        if j == 0 or by[j] != by[j - 1]:
            latest = np.int64(-1)
            while i < len(producers) and producers[i] < by[j]:
                i += 1
        while i < len(producers) and producers[i] == by[j] and acked_ns[i] < sent_ns[j]:
            latest = max(latest, np.int64(late_ranks[i]))
            i += 1
        found[j] = latest > early_ranks[j]
    return found


@_compiled
def classify(at: Ranks, position: Ranks, bases: Int64s, state: States) -> Int64s:
    """Count every class, and leave in ``state`` those that name their events."""
    tally = np.zeros(TALLY, np.int64)
    for producer in range(len(bases) - 1):
        lost, delivered, since = 0, False, 0
        for place in range(bases[producer], bases[producer + 1]):
            before, there = state[place], position[place] != NOWHERE
            state[place] = before & (DUPLICATED | CORRUPTED)
            if at[place] == NOWHERE:
                continue
            told = before & TOLD
            tally[SENT_N] += 1
            tally[DUPLICATED_N] += (before & AGAIN) != 0
            tally[CORRUPTED_N] += (before & ALTERED) != 0
            if told == REFUSED:
                tally[REFUSED_N] += 1
                if there:
                    tally[RESURRECTED_N] += 1
                    state[place] |= RESURRECTED
            elif told != ACKED:
                tally[UNKNOWN_N] += 1
                tally[RECOVERED_N] += there
            elif there:
                tally[DELIVERED_N] += 1
                tally[MIDDLE_N if delivered else PREFIX_N] += since
                delivered, since = True, 0
            elif before & DEAD:
                tally[DEAD_N] += 1
            elif before & PENDING:
                tally[PENDING_N] += 1
            else:
                lost += 1
                since += 1
                state[place] |= LOST
        tally[LOST_N] += lost
        tally[SUFFIX_N if delivered else PREFIX_N] += since
    tally[ACKED_N] = tally[DELIVERED_N] + tally[LOST_N] + tally[DEAD_N] + tally[PENDING_N]
    return tally


@_compiled
def marked(state: States, bit: int, count: int) -> Places:
    """Return the ``count`` places whose state has a bit."""
    places = np.empty(count, np.int64)
    found = 0
    if count:
        for place in range(len(state)):
            if state[place] & bit:
                places[found] = place
                found += 1
    return places[:found]
