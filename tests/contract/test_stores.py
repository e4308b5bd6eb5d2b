"""One contract for every store that persisted events are read from, on real servers."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from lossmeter.errors import CollectError, UsageError
from lossmeter.plugins import names_in
from lossmeter.record.arrays import UNDATED
from lossmeter.record.payloads import payload_hash
from lossmeter.world import stores
from lossmeter.world.stores import _values
from lossmeter.world.stores import kafka as kafka_store
from tests.support.store_kinds import KINDS, RECORDS, SERVED, but, collected, events, ids
from tests.support.stores import Mysql, Postgres, Written


def test_every_kind_is_under_this_contract() -> None:
    assert {name.partition(" ")[0] for name in (*KINDS, *SERVED)} == set(names_in(stores))


def test_rows_are_read_exactly(written: Written) -> None:
    auditor = written.auditor()
    columns = auditor.check()
    auditor.check_empty()
    sent = events(300)
    doubled = [sent[5], sent[5], sent[299]] if written.ordered else []
    begin_ns = time.time_ns()
    written.write([*sent, *doubled])
    assert auditor.count() == 300 + len(doubled)
    counter = auditor.counter()
    assert counter() == 300 + len(doubled)
    counter.close()
    rows = collected(auditor).rows
    wanted = [(r["producer"], r["sequence"]) for r in (*sent, *doubled)]
    if written.ordered:
        assert ids(rows) == wanted
    assert Counter(ids(rows)) == Counter(wanted)
    hashes = {(r["producer"], r["sequence"]): payload_hash(str(r["payload"])) for r in sent}
    assert columns.payload_hash
    assert [hashes[i] for i in ids(rows)] == rows["payload_hash"].tolist()
    assert columns.position == written.ordered
    assert not written.ordered or (np.diff(rows["position"]) > 0).all()
    assert columns.persisted_at == written.dated
    if written.dated:
        # Some stores know milliseconds only.
        assert (rows["persisted_ns"] >= begin_ns - 10_000_000).all()
        assert (rows["persisted_ns"] <= time.time_ns() + 10_000_000).all()
    else:
        assert (rows["persisted_ns"] == UNDATED).all()


# PostgreSQL's own parts are tested in test_collect.py.
@pytest.mark.parametrize("absent", but("postgres"), indirect=True)
def test_it_is_read_in_parts(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    written.write(events(100))
    monkeypatch.setattr(_values, "PART_ROWS", 7)
    parts: list[int] = []
    auditor = written.auditor()
    auditor._store.read("rows", lambda part: parts.append(len(part)))
    assert parts == [7] * 14 + [2]


def test_ids_that_nobody_mints_are_nobodys(written: Written) -> None:
    odd: list[object] = [None, 1.5, 2**70, "x", "", -(2**80), 1e300]
    written.write([{"producer": value, "sequence": 3, "payload": "p"} for value in odd])
    written.write([{"producer": "4", "sequence": 2.0, "payload": "p"}] if odd else [])
    got = ids(collected(written.auditor()).rows)
    assert Counter(got) == Counter([(-1, 3)] * len(odd) + [(4, -1 if _text_only(written) else 2)])


def _text_only(written: Written) -> bool:
    # The table has text, and "2.0" is no whole number there.
    return isinstance(written, Postgres | Mysql)


def test_a_store_that_is_away_is_an_error_and_never_empty(
    absent: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_store, "_WITHIN_S", 0.5)
    written = absent
    auditor = written.opened(written.away())
    with pytest.raises(UsageError) as caught:
        auditor.check()
    assert str(caught.value).startswith("persisted")
    assert "\n" not in str(caught.value)
    with pytest.raises(CollectError):
        auditor.count()
    with pytest.raises(CollectError):
        collected(auditor)
    assert auditor.counter()() is None


def test_what_never_was_there_is_not_called_empty(absent: Written) -> None:
    auditor = absent.auditor()
    auditor.check()
    assert auditor.count() == 0
    if absent.may_be_absent:
        with pytest.raises(CollectError, match=r"persisted\.\w+: there is no "):
            collected(auditor)
    else:
        assert len(collected(auditor).rows) == 0


def test_what_stands_there_before_the_run_is_refused(written: Written) -> None:
    written.write(events(1))
    auditor = written.auditor()
    auditor.check()
    with pytest.raises(UsageError, match="returns 1 row before any event was sent"):
        auditor.check_empty()


@pytest.mark.parametrize("absent", RECORDS, indirect=True)
def test_a_record_that_is_none_is_named(written: Written) -> None:
    written.write(events(2))
    written.write([{"sequence": 1, "payload": "of nobody"}])
    with pytest.raises(CollectError, match=r"is not a JSON object with producer and sequence: "):
        collected(written.auditor())


@pytest.mark.parametrize("absent", RECORDS, indirect=True)
def test_a_pattern_finds_the_event_in_any_text(written: Written) -> None:
    written.write(events(4))
    more = {"pattern": r'"producer": (?P<producer>\d+), "sequence": (?P<sequence>\d+)'}
    auditor = written.auditor(**more)
    assert not auditor.check().payload_hash
    assert Counter(ids(collected(auditor).rows)) == Counter([(0, 0), (1, 0), (2, 0), (0, 1)])
