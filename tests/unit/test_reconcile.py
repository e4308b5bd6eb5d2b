from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lossmeter.errors import LedgerError
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.model import Counts, Status
from lossmeter.record.arrays import INTENT, OUTCOME, PAIR, Held, Operations, keys
from tests.support.histories import ACKED, REFUSED, UNKNOWN, History

A, B, C = (0, 0), (0, 1), (0, 2)
GOOD, BAD = 0, 1


def _counts(history: History) -> Counts:
    return reconcile(history.operations(), history.held()).counts


def _one(status: object, rows: int, *, outcome: bool = True) -> Counts:
    done = 2 if outcome else None
    return _counts(History({A: (1, done, status)}, [(A, GOOD)] * rows))  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("status", "rows", "classes"),
    [
        (ACKED, 0, {"acked", "lost"}),
        (ACKED, 1, {"acked", "delivered"}),
        (ACKED, 2, {"acked", "delivered", "duplicated"}),
        (UNKNOWN, 0, {"unknown", "unresolved"}),
        (UNKNOWN, 1, {"unknown", "recovered"}),
        (UNKNOWN, 3, {"unknown", "recovered", "duplicated"}),
        (REFUSED, 0, {"refused"}),
        (REFUSED, 1, {"refused", "resurrected"}),
        (REFUSED, 2, {"refused", "resurrected", "duplicated"}),
    ],
)
def test_each_field_of_the_verdict_table(status: object, rows: int, classes: set[str]) -> None:
    counts = _one(status, rows).as_dict()
    assert {name for name, n in counts.items() if n} == {"sent"} | classes


def test_an_intent_without_an_outcome_is_unknown_never_lost() -> None:
    counts = _one(ACKED, 0, outcome=False)
    assert (counts.unknown, counts.unresolved, counts.lost) == (1, 1, 0)


def test_nothing_at_all() -> None:
    assert _counts(History()) == Counts()


@pytest.mark.parametrize("stranger", [(0, 7), (9, 0), (-1, 0), (0, -1), (2**40, 2**50)])
def test_a_row_that_nobody_sent_is_unexpected(stranger: tuple[int, int]) -> None:
    ledger = reconcile(*_parts(History({A: (1, 2, ACKED)}, [(A, GOOD), (stranger, GOOD)])))
    assert ledger.counts.unexpected == 1
    assert ledger.unexpected["producer"].tolist() == [stranger[0]]
    assert ledger.counts.delivered == 1


def _parts(history: History) -> tuple[Operations, Held]:
    return history.operations(), history.held()


def test_missing_events_that_are_accounted_for_are_not_lost() -> None:
    sent = {A: (1, 2, ACKED), B: (3, 4, ACKED), C: (5, 6, ACKED)}
    counts = _counts(History(sent, [], dead=[A, A], pending=[A, B]))
    assert (counts.dead_lettered, counts.pending, counts.lost) == (1, 1, 1)


def test_what_the_broker_holds_without_an_owner_is_stranded_and_not_lost() -> None:
    sent = {A: (1, 2, ACKED), B: (3, 4, ACKED), C: (5, 6, ACKED)}
    ledger = reconcile(*_parts(History(sent, [(C, GOOD)], pending=[B], stranded=[A, B, C, A])))
    counts = ledger.counts
    assert (counts.stranded, counts.pending, counts.delivered, counts.lost) == (1, 1, 1, 0)
    assert ledger.stranded.tolist() == [A]
    assert counts.foreign == 0
    assert _counts(History(sent, [], stranded=[(7, 7), (-1, -1)])).foreign == 2
    unacked = {A: (1, 2, UNKNOWN), B: (3, 4, Status.REFUSED)}
    assert _counts(History(unacked, [], stranded=[A, B])).stranded == 0


@pytest.mark.parametrize(
    ("struck_ns", "place", "late_by_ns"),
    [
        ((5,), 15, 11),  # given again after 10 ns, and acked at 4
        ((5,), 13, 0),  # in time
        ((14,), 13, 0),  # persisted before the fault
        ((3,), 15, 0),  # acked after the fault, so nobody had it in hand
        ((), 15, 0),
        ((1, 5), 20, 16),
    ],
)
def test_what_came_only_when_the_broker_gave_it_again_is_late(
    struck_ns: tuple[int, ...], place: int, late_by_ns: int
) -> None:
    history = History({A: (3, 4, ACKED)}, [((9, n), GOOD) for n in range(place)] + [(A, GOOD)])
    history.struck_ns = struck_ns
    ledger = reconcile(*_parts(history))
    assert (ledger.counts.late, ledger.late_by_ns) == (late_by_ns > 0, late_by_ns)
    assert ledger.counts.delivered == 1
    held = replace(history.held(), redelivered_after_ns=None)
    assert "late" in reconcile(history.operations(), held).not_measured


def test_a_delivered_event_in_the_dead_letters_is_delivered() -> None:
    counts = _counts(History({A: (1, 2, ACKED)}, [(A, GOOD)], dead=[A], pending=[A]))
    assert (counts.delivered, counts.dead_lettered, counts.pending) == (1, 0, 0)


def test_another_payload_is_corrupted() -> None:
    ledger = reconcile(*_parts(History({A: (1, 2, ACKED)}, [(A, BAD)])))
    assert ledger.counts.corrupted == 1
    assert ledger.counts.delivered == 1
    assert not ledger.not_measured


def test_what_is_not_measured_is_named_not_proven() -> None:
    operations, held = _parts(History({A: (1, 2, ACKED), B: (3, 4, ACKED)}, [(B, BAD), (A, BAD)]))
    ledger = reconcile(operations, replace(held, hashes_measured=False, positions_measured=False))
    assert ledger.not_measured == {"corrupted", "reordered"}
    assert ledger.counts.corrupted == ledger.counts.reordered == 0


def test_overtaking_an_event_acked_before_is_reordered() -> None:
    history = History({A: (1, 2, ACKED), B: (3, 4, ACKED)}, [(B, GOOD), (A, GOOD)])
    ledger = reconcile(*_parts(history))
    assert ledger.counts.reordered == 1
    assert ledger.reordered["sequence"].tolist() == [1]


@pytest.mark.parametrize(
    "sent",
    [
        {A: (1, 5, ACKED), B: (3, 4, ACKED)},  # both under way at once
        {A: (1, 3, ACKED), B: (3, 4, ACKED)},  # acked in the very moment of sending
        {A: (1, 2, UNKNOWN), B: (3, 4, ACKED)},  # the first was never acked
        {A: (1, None, ACKED), B: (3, 4, ACKED)},
        {(0, 0): (1, 2, ACKED), (1, 0): (3, 4, ACKED)},  # two producers owe each other nothing
    ],
)
def test_events_without_an_order_cannot_be_reordered(sent: dict[object, object]) -> None:
    first, second = sent
    history = History(sent, [(second, GOOD), (first, GOOD)])  # type: ignore[arg-type,list-item]
    assert _counts(history).reordered == 0


def test_lost_events_are_named_and_placed() -> None:
    sent = {(0, n): (n, n, ACKED) for n in range(6)}
    history = History(sent, [((0, 1), GOOD), ((0, 3), GOOD)])
    ledger = reconcile(*_parts(history))
    assert ledger.lost.tolist() == [(0, 0), (0, 2), (0, 4), (0, 5)]
    assert (ledger.lost_prefix, ledger.lost_middle, ledger.lost_suffix) == (1, 1, 2)


def test_rows_beyond_the_first_are_counted() -> None:
    ledger = reconcile(*_parts(History({A: (1, 2, ACKED)}, [(A, GOOD)] * 300)))
    assert ledger.extra_rows == 299
    assert ledger.counts.duplicated == 1


def test_a_yes_outweighs_a_later_silence_and_a_silence_a_refusal() -> None:
    history = History({A: (1, 2, REFUSED), B: (1, 2, ACKED)})
    operations = history.operations()
    again = operations.outcomes.copy()
    again["status"] = UNKNOWN
    counts = reconcile(
        replace(operations, outcomes=np.concatenate([operations.outcomes, again])), history.held()
    ).counts
    assert (counts.acked, counts.unknown, counts.refused) == (1, 1, 0)


def _broken(intents: list[tuple[int, ...]], outcomes: list[tuple[int, ...]]) -> None:
    operations = Operations(np.array(intents, INTENT), np.array(outcomes, OUTCOME))
    reconcile(operations, History().held())


def test_journals_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(LedgerError, match="intended twice"):
        _broken([(0, 0, 1, 1, 0), (0, 0, 2, 2, 0)], [])
    with pytest.raises(LedgerError, match="never intended"):
        _broken([(0, 0, 1, 1, 0)], [(0, 1, 2, ACKED, 0)])
    with pytest.raises(LedgerError, match="never intended"):
        _broken([(0, 1, 1, 1, 0)], [(0, 0, 2, ACKED, 0)])
    with pytest.raises(LedgerError, match="does not exist"):
        _broken([(0, 0, 1, 1, 0)], [(0, 0, 2, 9, 0)])
    with pytest.raises(LedgerError, match="without gaps"):
        _broken([(0, 2**63, 1, 1, 0)], [])
    with pytest.raises(LedgerError, match="without gaps"):
        _broken([(2**31, 0, 1, 1, 0)], [])


def test_keys_of_different_ids_differ() -> None:
    ids = np.array([(p, s) for p in range(50) for s in range(50)], PAIR)
    assert len(set(keys(ids).tolist())) == 2500
