from __future__ import annotations

import hashlib
from collections import Counter
from itertools import starmap

from hypothesis import given
from hypothesis import strategies as st

from lossmeter.experiment import Load, Phase
from lossmeter.load.schedule import payload, schedule
from lossmeter.record.payloads import payload_hash


def test_a_steady_rate_is_due_at_even_times() -> None:
    due = list(schedule([(200.0, 1.0)], producers=8))
    assert [event.due_ns for event in due[:3]] == [0, 5_000_000, 10_000_000]
    assert len(due) == 200


def test_phases_follow_each_other() -> None:
    due = list(schedule([(10.0, 1.0), (100.0, 1.0)], producers=2))
    assert len(due) == 110
    assert due[10].due_ns == 1_000_000_000
    assert due[11].due_ns == 1_010_000_000


@given(events=st.integers(1, 300), producers=st.integers(1, 9), shards=st.integers(1, 4))
def test_shards_mint_every_id_once_and_densely(events: int, producers: int, shards: int) -> None:
    phases = [(float(events), 1.0)]
    everything = [
        (event.producer, event.sequence)
        for shard in range(shards)
        for event in schedule(phases, producers, shard, shards)
    ]
    assert len(everything) == len(set(everything)) == events
    for producer in {p for p, _ in everything}:
        mine = sorted(s for p, s in everything if p == producer)
        assert mine == list(range(len(mine)))


_PHASES = st.lists(
    st.tuples(st.floats(1, 500), st.floats(0.01, 1)).map(lambda p: (p[0], p[1])),
    min_size=1,
    max_size=3,
)


@given(phases=_PHASES, producers=st.integers(1, 9), shards=st.integers(1, 5))
def test_shards_send_together_what_one_process_would_and_when(
    phases: list[tuple[float, float]], producers: int, shards: int
) -> None:
    parts = [list(schedule(phases, producers, shard, shards)) for shard in range(shards)]
    whole = [due.due_ns for due in schedule(phases, producers)]
    # In turn: the n-th event of the schedule is that of shard n modulo shards.
    assert [parts[n % shards][n // shards].due_ns for n in range(len(whole))] == whole
    assert sum(map(len, parts)) == len(whole)
    for shard, part in enumerate(parts):
        assert {due.producer // producers for due in part} <= {shard}
        assert [due.due_ns for due in part] == sorted(due.due_ns for due in part)


@given(phases=_PHASES, producers=st.integers(1, 9), processes=st.integers(1, 5))
def test_how_much_each_producer_sends_is_known_beforehand(
    phases: list[tuple[float, float]], producers: int, processes: int
) -> None:
    load = Load(tuple(starmap(Phase, phases)), producers, processes=processes)
    sent = Counter(
        due.producer
        for shard in range(processes)
        for due in schedule(phases, producers, shard, processes)
    )
    assert {p: load.sent_by(p) for p in load.ids} == {p: sent[p] for p in load.ids}
    assert sent.total() == load.events


def test_the_same_seed_gives_the_same_payload() -> None:
    assert payload(1, 2, 3, 300) == payload(1, 2, 3, 300)
    assert len(payload(1, 2, 3, 300)) == 300
    assert payload(1, 2, 3, 64) != payload(2, 2, 3, 64)
    assert payload(1, 2, 3, 64) != payload(1, 3, 2, 64)


def test_the_hash_is_what_postgresql_computes_from_md5() -> None:
    first = hashlib.md5(b"abc").hexdigest()[:16]
    unsigned = int(first, 16)
    signed = unsigned - 2**64 if unsigned >= 2**63 else unsigned
    assert payload_hash("abc") == signed
