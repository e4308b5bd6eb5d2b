"""What a broker holds is told apart by how long nobody had it; settling waits for what may come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.errors import CollectError, UsageError
from lossmeter.plan.target import Target
from lossmeter.record.arrays import Records
from lossmeter.record.collected import Collected
from lossmeter.world import auditor as audit
from lossmeter.world.auditor import Auditor
from lossmeter.world.queues import _held
from lossmeter.world.queues._held import EVERY_S, HeldByBroker
from lossmeter.world.queues._ids import ENTRY, Ids, entries
from lossmeter.world.stores import store_options

A, B, C = (0, 1), (0, 2), (1, 3)
Entry = tuple[tuple[int, int], bool, float | None]


class Broker:
    """A broker of which each reading is written down before, and the time between them."""

    def __init__(self, *readings: list[Entry] | None, every_s: float = EVERY_S) -> None:
        self._readings, self._every_s = list(readings), every_s
        self.now = 0.0

    def __call__(self) -> Records | None:
        self.now += self._every_s
        found = self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]
        return None if found is None else entries(found)

    def close(self) -> None:
        pass

    def clock(self) -> float:
        return self.now


def looks(broker: Broker, promised_s: float, number: int) -> Iterator[tuple[int, int, int] | None]:
    held = HeldByBroker(broker, promised_s, broker.clock)
    for _ in range(number):
        left = held.look()
        yield None if left is None else (left.may_come, len(left.pending), len(left.stranded))


def test_what_nobody_took_back_for_longer_than_promised_is_stranded() -> None:
    broker = Broker([(A, False, None)], every_s=1)
    assert list(looks(broker, 2.5, 5)) == [(1, 1, 0)] * 3 + [(0, 0, 1)] * 2


def test_what_was_given_again_is_young_again_and_what_has_an_owner_is_pending() -> None:
    broker = Broker([(A, False, 9.0), (B, True, 9.0)], [(A, False, 0.1)], every_s=1)
    assert list(looks(broker, 2.5, 2)) == [(0, 1, 1), (1, 1, 0)]


def test_one_that_was_gone_for_a_moment_begins_anew() -> None:
    broker = Broker([(A, False, None)], [(A, False, None)], [], [(A, False, None)], every_s=1)
    assert [each and each[0] for each in looks(broker, 1.5, 5)] == [1, 1, 0, 1, 1]


def test_a_broker_that_does_not_answer_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_held, "_AGAIN_S", 0)
    broker = Broker([], None)
    held = HeldByBroker(broker, 1, broker.clock)
    held.check_empty()
    with pytest.raises(CollectError, match="does not answer"):
        held.collect()
    with pytest.raises(UsageError, match="nothing answers"):
        HeldByBroker(Broker(None), 1).check_empty()
    with pytest.raises(UsageError, match="returns 2 events before any was sent"):
        HeldByBroker(Broker([(A, False, None), (B, True, 99.0)]), 1).check_empty()


def test_a_broker_that_is_slow_to_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_held, "_AGAIN_S", 0)
    held = HeldByBroker(Broker(None, None, [(A, False, None)]), 1)
    assert len(held.collect().pending) == 1


@given(
    st.lists(
        st.tuples(
            st.tuples(st.integers(0, 3), st.integers(0, 3)),
            st.booleans(),
            st.one_of(st.none(), st.floats(0, 9)),
        ),
        max_size=9,
    ),
    st.floats(0, 9),
)
def test_each_event_is_in_one_class_and_none_is_stranded_before_its_time(
    held: list[Entry], promised_s: float
) -> None:
    broker = Broker(held)
    left = HeldByBroker(broker, promised_s, broker.clock).collect()
    assert len(left.pending) + len(left.stranded) == len(held)
    old = [ids for ids, owned, age in held if not owned and age is not None and age > promised_s]
    assert sorted(left.stranded.tolist()) == sorted(old)
    assert left.may_come == sum(age is None or age <= promised_s for _, _, age in held)


TEXTS = {
    '{"producer": 3, "sequence": 7}': (3, 7),
    '{"producer": "3", "more": [1], "sequence": "7", "sequence": 8}': (3, 7),
    '{"sequence": 7, "producer": 3}': (-1, -1),
    '{"producer": 99999999999999999999, "sequence": 7}': (-1, -1),
    "": (-1, -1),
}


@pytest.mark.parametrize("text", TEXTS)
def test_an_id_is_found_in_a_message_or_is_nobodys(text: str) -> None:
    assert Ids().of(text) == TEXTS[text]


# Settling.


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Broker | None], Auditor]:
    """Return what makes an auditor of a store with one row, and of a broker."""
    monkeypatch.setattr(audit, "BLIND_QUIET_S", 0.3)
    (tmp_path / "rows.jsonl").write_text('{"producer": 5, "sequence": 5}\n')
    target = {"name": "t", "summary": "", "ack_level": "enqueued", "start": {"command": ["x"]}}
    table = {"kind": "jsonl", "file": str(tmp_path / "rows.jsonl"), "quiet_s": 0.2}

    def make(broker: Broker | None) -> Auditor:
        asked = Target.model_validate(target | {"persisted": table | {"settle_limit_s": 2.0}})
        store = store_options("t", asked.persisted.table).open(str)
        held = None if broker is None else HeldByBroker(broker, 1.2, broker.clock)
        return Auditor(store, asked.persisted, broker=held)

    return make


def nothing() -> None:
    """Look at nothing else."""


def test_settling_waits_for_what_the_broker_may_still_give(
    stored: Callable[[Broker | None], Auditor],
) -> None:
    broker = Broker(*[[(A, False, None)]] * 3, [])
    settled, how = stored(broker).settle(lambda: True, nothing)
    assert settled, how
    assert broker.now >= 4 * EVERY_S
    assert how.startswith("queue empty")


def test_what_is_stranded_ends_the_wait_although_the_queue_is_not_empty(
    stored: Callable[[Broker | None], Auditor], tmp_path: Path
) -> None:
    broker = Broker([(A, False, None), (B, True, 50.0), (C, False, 50.0)])
    auditor = stored(broker)
    settled, how = auditor.settle(lambda: False, nothing)
    assert settled, how
    assert "broker holds 2 without an owner and 1 in hand" in how
    auditor.save(tmp_path)
    collected = Collected.load(tmp_path)
    assert collected.stranded.tolist() == [A, C]
    assert collected.pending.tolist() == [B]


def test_a_broker_that_is_away_settles_nothing(
    stored: Callable[[Broker | None], Auditor],
) -> None:
    settled, _ = stored(Broker(None)).settle(lambda: True, nothing)
    assert not settled


def test_entries_of_nobody_are_an_array_all_the_same() -> None:
    assert entries([]).dtype == ENTRY
    assert np.isnan(entries([(A, False, None)])["age_s"]).all()


# What a target file says.

AFTER = {"1h": "right are seconds", -1: "right are seconds", True: "right are seconds"}
AFTER |= {100: "not over within persisted.settle_limit_s = 90"}


@pytest.mark.parametrize("after_s", AFTER)
def test_a_redelivery_that_cannot_be_waited_for_is_refused(after_s: object) -> None:
    said = AFTER[after_s]  # type: ignore[index]
    target = {"name": "t", "summary": "", "ack_level": "enqueued", "start": {"command": ["x"]}}
    persisted = {"kind": "jsonl", "file": "rows"}
    queue = {"kind": "redis", "keys": ["k"], "redelivered_after_s": after_s}
    with pytest.raises(ValueError, match=said):
        Target.model_validate(target | {"persisted": persisted, "queue": queue})
