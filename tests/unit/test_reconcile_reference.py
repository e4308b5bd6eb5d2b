"""The ledger beside a slow, obvious one, on raw records: gaps, ties, several outcomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmeter.judge.ledger import space
from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.reconcile import merge, reconcile
from lossmeter.model import Counts, Status
from lossmeter.record.arrays import INTENT, OUTCOME, PAIR, ROW, Held, Operations

Id = tuple[int, int]

ACKED, REFUSED, UNKNOWN = Status.ACKED, Status.REFUSED, Status.UNKNOWN
BINDS = {REFUSED: 0, UNKNOWN: 1, ACKED: 2}
NAMED = ("lost", "stranded", "late", "duplicated", "corrupted", "reordered", "resurrected")


@dataclass
class Raw:
    """Records as they are collected.

    ``sent`` maps an id to (sent_ns, hash); ``outcomes`` lists (id, done_ns, status); ``rows``
    lists (id, hash, position).
    """

    sent: dict[Id, tuple[int, int]]
    outcomes: list[tuple[Id, int, Status]]
    rows: list[tuple[Id, int, int]]
    dead: list[Id]
    pending: list[Id]
    stranded: list[Id] = field(default_factory=list)
    struck_ns: tuple[int, ...] = ()
    after_ns: int = 1

    def operations(self) -> Operations:
        intents = [(*i, sent, sent, digest) for i, (sent, digest) in self.sent.items()]
        outcomes = [(*i, done, status, 0) for i, done, status in self.outcomes]
        return Operations(np.array(intents, INTENT), np.array(outcomes, OUTCOME))

    def held(self) -> Held:
        rows = [(*i, digest, position, position) for i, digest, position in self.rows]
        pairs = (np.array(ids, PAIR) for ids in (self.dead, self.pending))
        return Held(
            *(np.array(rows, ROW), *pairs),
            stranded=np.array(self.stranded, PAIR),
            redelivered_after_ns=self.after_ns,
            struck_ns=self.struck_ns,
        )

    def ledger(self, first: int = 0) -> Ledger:
        return reconcile(self.operations(), self.held(), first)

    def kept(self) -> list[Id]:
        return [*self.dead, *self.pending, *self.stranded]

    def strangers(self) -> set[int]:
        """Return the producers that are none."""
        named = [*(i for i, _, _ in self.rows), *self.dead, *self.pending, *self.stranded]
        return {producer for producer, _ in named} - {0, 1, 2}

    def of(self, producers: set[int]) -> Raw:
        """Keep what belongs to some producers."""
        return Raw(
            {i: v for i, v in self.sent.items() if i[0] in producers},
            [o for o in self.outcomes if o[0][0] in producers],
            [r for r in self.rows if r[0][0] in producers],
            [i for i in self.dead if i[0] in producers],
            [i for i in self.pending if i[0] in producers],
            [i for i in self.stranded if i[0] in producers],
            self.struck_ns,
            self.after_ns,
        )


@st.composite
def raws(draw: st.DrawFn) -> Raw:
    ids = st.tuples(st.integers(0, 2), st.integers(0, 7))
    sent = draw(st.dictionaries(ids, st.tuples(st.integers(0, 20), st.integers(0, 1)), max_size=14))
    known = sorted(sent)
    # Among any numbers those that differ from a minted one by what a narrower type cuts off.
    number = st.one_of(
        st.integers(-2, 9),
        st.integers(-(2**63), 2**63 - 1),
        st.builds(
            lambda low, bits: low - 2**63 if bits == 63 else low + 2**bits,
            st.integers(0, 7),
            st.sampled_from([16, 31, 32, 40, 53, 62, 63]),
        ),
    )
    strange = st.tuples(number, number)
    pick = st.sampled_from(known) if known else strange
    outcome = st.tuples(pick, st.integers(0, 15), st.sampled_from([ACKED, ACKED, UNKNOWN, REFUSED]))
    row = st.tuples(st.one_of(pick, pick, strange), st.integers(0, 1), st.integers(-3, 12))
    outcomes = draw(st.lists(outcome, max_size=20)) if known else []
    return Raw(
        sent,
        # No answer comes before its question; the ledger relies on that.
        [(ident, sent[ident][0] + after, status) for ident, after, status in outcomes],
        draw(st.lists(row, max_size=20)),
        draw(st.lists(st.one_of(ids, strange), max_size=4)),
        draw(st.lists(st.one_of(ids, strange), max_size=4)),
        draw(st.lists(st.one_of(ids, strange), max_size=4)),
        tuple(draw(st.lists(st.integers(0, 15), max_size=2))),
        draw(st.integers(0, 5)),
    )


@dataclass
class Slow:
    """The classes, one event at a time."""

    raw: Raw

    def __post_init__(self) -> None:
        raw = self.raw
        self.status = dict.fromkeys(raw.sent, UNKNOWN)
        for ident in raw.sent:
            operations = [s for i, _, s in raw.outcomes if i == ident]
            self.status[ident] = max(operations, key=BINDS.__getitem__, default=UNKNOWN)
        self.acked_ns = {
            ident: min(done for i, done, s in raw.outcomes if i == ident and s is ACKED)
            for ident in self.of(ACKED)
        }
        self.times = Counter(i for i, _, _ in raw.rows if i in raw.sent)
        self.first = {i: min(p for j, _, p in raw.rows if i == j) for i in self.times}

    def of(self, status: Status) -> set[Id]:
        return {i for i, s in self.status.items() if s is status}

    def named(self) -> dict[str, set[Id]]:
        raw, missing = self.raw, self.of(ACKED) - set(self.times)
        return {
            "lost": missing - set(raw.dead) - set(raw.pending) - set(raw.stranded),
            "stranded": (missing & set(raw.stranded)) - set(raw.dead) - set(raw.pending),
            "late": {i for i in self.times if self.waited(i)},
            "duplicated": {i for i, n in self.times.items() if n > 1},
            "corrupted": {i for i, h, _ in raw.rows if i in raw.sent and h != raw.sent[i][1]},
            "reordered": {b for b in self.times for a in self.times if self.overtook(b, a)},
            "resurrected": self.of(REFUSED) & set(self.times),
        }

    def waited(self, ident: Id) -> bool:
        return ident in self.acked_ns and any(
            self.acked_ns[ident] <= struck <= self.first[ident]
            and self.first[ident] - self.acked_ns[ident] >= self.raw.after_ns
            for struck in self.raw.struck_ns
        )

    def overtook(self, b: Id, a: Id) -> bool:
        return (
            a[0] == b[0]
            and a in self.acked_ns
            and self.acked_ns[a] < self.raw.sent[b][0]
            and self.first[a] > self.first[b]
        )

    def counts(self) -> Counts:
        acked, unknown, there = self.of(ACKED), self.of(UNKNOWN), set(self.times)
        dead = (acked - there) & set(self.raw.dead)
        return Counts(
            sent=len(self.status),
            acked=len(acked),
            refused=len(self.of(REFUSED)),
            unknown=len(unknown),
            delivered=len(acked & there),
            dead_lettered=len(dead),
            pending=len((acked - there - dead) & set(self.raw.pending)),
            recovered=len(unknown & there),
            unresolved=len(unknown - there),
            unexpected=len(self.raw.rows) - self.times.total(),
            foreign=sum(i not in self.raw.sent for i in self.raw.kept()),
            **{name: len(ids) for name, ids in self.named().items()},
        )

    def lost_where(self) -> tuple[int, int, int]:
        where = Counter[str]()
        for producer, sequence in self.named()["lost"]:
            there = [s for p, s in self.times if p == producer and (p, s) in self.of(ACKED)]
            if not there or sequence < min(there):
                where["prefix"] += 1
            else:
                where["suffix" if sequence > max(there) else "middle"] += 1
        return where["prefix"], where["middle"], where["suffix"]


def _ids(ledger: Ledger) -> dict[str, set[Id]]:
    return {name: set(getattr(ledger, name).tolist()) for name in NAMED}


@given(raws())
@settings(max_examples=500)
def test_every_class_and_every_name_agrees_with_the_slow_ledger(raw: Raw) -> None:
    ledger, slow = raw.ledger(), Slow(raw)
    assert ledger.counts == slow.counts()
    assert _ids(ledger) == slow.named()
    assert (ledger.lost_prefix, ledger.lost_middle, ledger.lost_suffix) == slow.lost_where()
    assert ledger.extra_rows == slow.times.total() - len(slow.times)
    assert len(ledger.unexpected) == ledger.counts.unexpected


@given(raws(), st.integers(1, 5), st.integers(0, 2**32))
def test_neither_chunks_nor_the_order_of_records_matter(raw: Raw, chunk: int, seed: int) -> None:
    operations, held, whole = raw.operations(), raw.held(), raw.ledger()
    mix = np.random.default_rng(seed).permutation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space, "CHUNK", chunk)
        mixed = reconcile(
            Operations(mix(operations.intents), mix(operations.outcomes)),
            replace(held, rows=mix(held.rows)),
        )
    assert mixed.counts == whole.counts
    assert _ids(mixed) == _ids(whole)
    assert mixed.extra_rows == whole.extra_rows


@given(raws())
def test_the_merge_of_reconciled_parts_is_the_ledger_of_the_merged(raw: Raw) -> None:
    parts = [raw.of({0} | raw.strangers()), raw.of({1}), raw.of({2})]
    firsts = [min((p for p, _ in part.sent), default=0) for part in parts]
    merged = merge([part.ledger(first) for part, first in zip(parts, firsts, strict=True)])
    whole = raw.ledger()
    assert merged.counts == whole.counts
    assert _ids(merged) == _ids(whole)
    assert sorted(merged.unexpected.tolist()) == sorted(whole.unexpected.tolist())
    for name in ("extra_rows", "lost_prefix", "lost_middle", "lost_suffix", "not_measured"):
        assert getattr(merged, name) == getattr(whole, name), name


A, B = (0, 0), (0, 1)


def _order(outcomes: list[tuple[Id, int, Status]], positions: tuple[int, int]) -> int:
    """Return how many are reordered when B is sent at 5 and persisted before A."""
    rows = [(B, 0, positions[0]), (A, 0, positions[1])]
    return Raw({A: (1, 0), B: (5, 0)}, outcomes, rows, [], []).ledger().counts.reordered


def test_an_early_silence_about_an_event_is_not_its_ack() -> None:
    assert _order([(A, 2, UNKNOWN), (A, 9, ACKED), (B, 6, ACKED)], (0, 1)) == 0
    assert _order([(A, 9, UNKNOWN), (A, 2, ACKED), (B, 6, ACKED)], (0, 1)) == 1


def test_rows_at_the_same_position_are_in_no_order() -> None:
    assert _order([(A, 2, ACKED), (B, 6, ACKED)], (7, 7)) == 0
    assert _order([(A, 2, ACKED), (B, 6, ACKED)], (7, 8)) == 1


def test_a_row_in_a_gap_of_the_sequences_was_never_sent() -> None:
    sent = {(0, 0): (1, 0), (0, 2): (3, 0)}
    rows = [((0, 1), 0, 0), ((0, 1), 0, 1)]
    counts = Raw(sent, [], rows, [], []).ledger().counts
    assert (counts.unexpected, counts.duplicated) == (2, 0)


@pytest.mark.parametrize("status", [UNKNOWN, REFUSED])
def test_only_an_acked_event_can_be_dead_lettered(status: Status) -> None:
    counts = Raw({A: (1, 0)}, [(A, 2, status)], [], [A], [A]).ledger().counts
    assert (counts.dead_lettered, counts.pending, counts.resurrected) == (0, 0, 0)
    assert (counts.unresolved, counts.refused) == (status is UNKNOWN, status is REFUSED)


def test_more_rows_than_a_byte_or_a_chunk_can_count() -> None:
    rows = [(A, 0, n) for n in range(space.CHUNK + 300)]
    ledger = Raw({A: (1, 0)}, [(A, 2, ACKED)], rows, [], []).ledger()
    assert (ledger.counts.duplicated, ledger.extra_rows) == (1, len(rows) - 1)
