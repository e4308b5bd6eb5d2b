"""Rows deleted, doubled, altered or invented by hand in a real PostgreSQL are found, exactly."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from harness import copying
from harness.collect import Auditor, Columns
from harness.errors import CollectError, UsageError
from harness.ledger.collected import ARRAYS, Collected
from harness.ledger.reconcile import reconcile
from harness.ledger.records import INTENT, OUTCOME, Held, Ledger, Told
from harness.load.schedule import payload, payload_hash
from harness.model import Counts, Status
from harness.target import Persisted
from tests.conftest import Server

EVENTS, PRODUCERS, SEED = 400, 4, 7
QUERY = """
select producer, sequence, id as position, persisted_at,
       ('x' || left(md5(payload), 16))::bit(64)::bigint as payload_hash
from handmade
"""


@pytest.fixture
def database(postgres: Server) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(
            "drop table if exists handmade; create table handmade (id bigserial, "
            "producer bigint, sequence bigint, payload text, "
            "persisted_at timestamptz default clock_timestamp())"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into handmade (producer, sequence, payload) values (%s, %s, %s)",
                [(n % PRODUCERS, n // PRODUCERS, _payload(n)) for n in range(EVENTS)],
            )
        yield connection


def _payload(n: int) -> str:
    return payload(SEED, n % PRODUCERS, n // PRODUCERS, 64)


def _told() -> tuple[np.ndarray, np.ndarray]:
    """Return intents and outcomes: every event was acked, one after the other."""
    n = np.arange(EVENTS)
    intents, outcomes = np.zeros(EVENTS, INTENT), np.zeros(EVENTS, OUTCOME)
    for told in (intents, outcomes):
        told["producer"], told["sequence"] = n % PRODUCERS, n // PRODUCERS
    intents["sent_ns"] = n * 1000
    intents["payload_hash"] = [payload_hash(_payload(i)) for i in range(EVENTS)]
    outcomes["done_ns"] = n * 1000 + 500
    outcomes["status"] = Status.ACKED
    return intents, outcomes


def _auditor(postgres: Server, query: str = QUERY) -> Auditor:
    return Auditor(postgres.url, Persisted(database=postgres.url, query=query))


def _collected(auditor: Auditor) -> Collected:
    with tempfile.TemporaryDirectory() as folder:
        auditor.save(Path(folder))
        return Collected.load(Path(folder))


def _ledger(postgres: Server) -> Ledger:
    auditor = _auditor(postgres)
    columns = auditor.check()
    assert columns == Columns(payload_hash=True, position=True, persisted_at=True)
    collected = _collected(auditor)
    held = Held(collected.rows, collected.dead_lettered, collected.pending)
    return reconcile(Told(*_told()), held)


def _ids(records: np.ndarray) -> set[tuple[int, int]]:
    return {(int(r["producer"]), int(r["sequence"])) for r in records}


@pytest.mark.usefixtures("database")
def test_an_untouched_table_reconciles_to_nothing_but_delivered(postgres: Server) -> None:
    ledger = _ledger(postgres)
    assert ledger.counts == Counts(sent=EVENTS, acked=EVENTS, delivered=EVENTS)
    assert ledger.extra_rows == 0


@pytest.mark.usefixtures("database")
def test_what_is_saved_a_part_at_a_time_is_what_is_collected(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = _collected(_auditor(postgres))
    monkeypatch.setattr(copying, "_PART_ROWS", 7)
    _auditor(postgres).save(tmp_path)
    saved = Collected.load(tmp_path)
    for name in ARRAYS:
        assert np.array_equal(getattr(saved, name), getattr(collected, name))
    assert len(saved.rows) == EVENTS


@pytest.mark.usefixtures("database")
def test_a_disk_that_is_full_is_not_taken_for_the_database(
    postgres: Server, tmp_path: Path
) -> None:
    (tmp_path / "rows.npy").symlink_to("/dev/full")
    with pytest.raises(CollectError, match=r"rows\.npy cannot be written: No space left"):
        _auditor(postgres).save(tmp_path)


Change = tuple[str, dict[str, int], str, set[tuple[int, int]]]

CHANGES: list[Change] = [
    (
        "delete from handmade where (producer, sequence) in ((0, 0), (1, 50), (3, 99))",
        {"lost": 3, "delivered": EVENTS - 3},
        "lost",
        {(0, 0), (1, 50), (3, 99)},
    ),
    (
        (
            "insert into handmade (producer, sequence, payload) "
            "select producer, sequence, payload from handmade where producer = 2 and sequence < 4"
        ),
        {"duplicated": 4},
        "duplicated",
        {(2, n) for n in range(4)},
    ),
    (
        "update handmade set payload = overlay(payload placing 'x' from 9) where sequence = 7",
        {"corrupted": PRODUCERS},
        "corrupted",
        {(p, 7) for p in range(PRODUCERS)},
    ),
    (
        (
            "insert into handmade (producer, sequence, payload) values (0, 100, 'a'), (4, 0, 'b'), "
            "(-1, 5, 'c'), (null, 5, 'd'), (0, null, 'e')"
        ),
        {"unexpected": 5},
        "unexpected",
        {(0, 100), (4, 0), (-1, 5), (-1, 5), (0, -1)},
    ),
    (
        (
            "update handmade set id = case sequence when 10 then 10 * 4 + 5 else 10 * 4 + 1 end "
            "where producer = 0 and sequence in (10, 11)"
        ),
        {"reordered": 1},
        "reordered",
        {(0, 11)},
    ),
]


@pytest.mark.parametrize(
    "change", CHANGES, ids=["deleted", "doubled", "altered", "invented", "swapped"]
)
def test_what_was_done_by_hand_is_reported_exactly(
    postgres: Server,
    database: psycopg.Connection[tuple[object, ...]],
    change: Change,
) -> None:
    statement, counts, name, ids = change
    database.execute(statement)  # type: ignore[arg-type]
    ledger = _ledger(postgres)
    expected = {"sent": EVENTS, "acked": EVENTS, "delivered": EVENTS} | counts
    assert ledger.counts == Counts(**expected)
    assert _ids(getattr(ledger, name)) == ids


def test_rows_come_in_with_their_times(postgres: Server, database: object) -> None:
    del database
    rows = _collected(_auditor(postgres)).rows
    assert len(rows) == EVENTS
    age_s = time.time() - rows["persisted_ns"].astype(float) / 1e9
    assert (age_s >= -1).all()
    assert (age_s < 300).all()
    assert (np.diff(rows["position"]) > 0).all()


def _settling(postgres: Server, limit_s: float) -> Auditor:
    persisted = Persisted(database=postgres.url, query=QUERY, quiet_s=0.4, settle_limit_s=limit_s)
    return Auditor(postgres.url, persisted)


@pytest.mark.usefixtures("database")
def test_reads_settle_when_the_target_is_empty_and_no_row_comes(postgres: Server) -> None:
    settled, how = _settling(postgres, 10).settle(lambda: True, lambda: None)
    assert settled
    assert how == f"queue empty, {EVENTS} rows for 0.4 s"


@pytest.mark.usefixtures("database")
def test_reads_never_settle_while_the_target_holds_events(postgres: Server) -> None:
    settled, how = _settling(postgres, 1.2).settle(lambda: False, lambda: None)
    assert not settled
    assert "the queue is not empty" in how


@pytest.mark.parametrize("empty", [True, None])
def test_reads_never_settle_while_rows_come(
    postgres: Server, database: psycopg.Connection[tuple[object, ...]], empty: bool | None
) -> None:
    def row() -> None:
        database.execute("insert into handmade (producer, sequence) values (0, 1)")

    settled, how = _settling(postgres, 1.2).settle(lambda: empty, row)
    assert not settled
    assert "rows still arrive" in how


@pytest.mark.usefixtures("database")
def test_a_query_without_the_optional_columns_says_so(postgres: Server) -> None:
    auditor = _auditor(postgres, "select producer, sequence from handmade;")
    assert auditor.check() == Columns(payload_hash=False, position=False, persisted_at=False)
    assert len(_collected(auditor).rows) == EVENTS


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select producer from handmade", "must return the column 'sequence'"),
        ("select nonsense", "is not a query that works"),
        ("select * from nowhere", 'relation "nowhere" does not exist'),
        ("drop table handmade", "is not a query that works"),
    ],
)
def test_a_wrong_query_is_refused_before_any_load(postgres: Server, query: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        _auditor(postgres, query).check()
    assert said in str(caught.value)
    assert "persisted.query" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("database")
def test_an_id_with_markup_in_it_is_an_error_of_one_line(postgres: Server) -> None:
    markup = "<script>alert(1)</script>\n::error::"
    query = f"select '{markup}'::text as producer, sequence from handmade"
    with pytest.raises(CollectError, match="invalid input syntax for type bigint") as caught:
        _collected(_auditor(postgres, query))
    assert "<script>" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_is_away_is_an_error_not_an_empty_result(postgres: Server) -> None:
    url = postgres.url.replace(postgres.address, "127.0.0.1:1")
    auditor = Auditor(url, Persisted(database=url, query=QUERY))
    with pytest.raises(UsageError, match="cannot be reached"):
        auditor.check()
    with pytest.raises(CollectError, match="the database is away"):
        _collected(auditor)


def test_an_empty_table_is_read_as_no_rows(
    postgres: Server, database: psycopg.Connection[tuple[object, ...]]
) -> None:
    database.execute("delete from handmade")
    assert len(_collected(_auditor(postgres)).rows) == 0
    ledger = _ledger(postgres)
    assert ledger.counts.lost == EVENTS


def test_rows_with_nulls_and_texts_are_read_beside_the_others(
    postgres: Server, database: psycopg.Connection[tuple[object, ...]]
) -> None:
    database.execute("alter table handmade alter producer type text, alter id drop not null")
    database.execute("update handmade set producer = null where sequence % 3 = 0")
    database.execute("update handmade set persisted_at = null where sequence % 5 = 0")
    database.execute("update handmade set persisted_at = 'infinity' where sequence = 7")
    query = QUERY.replace("select producer", "select producer::bigint as producer")
    rows = _collected(_auditor(postgres, query)).rows
    assert len(rows) == EVENTS
    assert (rows["producer"][rows["sequence"] % 3 == 0] == -1).all()
    assert (rows["producer"][rows["sequence"] % 3 != 0] >= 0).all()
    assert (rows["persisted_ns"][rows["sequence"] % 5 == 0] == 0).all()
    assert (rows["persisted_ns"][rows["sequence"] == 7] > time.time_ns()).all()


def test_more_rows_than_any_buffer_come_in_whole_and_in_order(postgres: Server) -> None:
    query = (
        "select n % 8 as producer, n / 8 as sequence, n as position, "
        "n::bigint * 7919 as payload_hash from generate_series(0, 299999) as n"
    )
    rows = _collected(_auditor(postgres, query)).rows
    n = np.arange(300_000)
    assert (rows["position"] == n).all()
    assert (rows["producer"] == n % 8).all()
    assert (rows["sequence"] == n // 8).all()
    assert (rows["payload_hash"] == n * 7919).all()
    assert (rows["persisted_ns"] == 0).all()


def test_a_query_that_fails_on_its_way_is_an_error(postgres: Server) -> None:
    query = "select n as producer, 1 / (5000 - n) as sequence from generate_series(0, 9000) as n"
    with pytest.raises(CollectError, match="cannot be read: division by zero"):
        _collected(_auditor(postgres, query))


def test_a_database_that_dies_in_the_middle_is_an_error(
    postgres: Server, database: psycopg.Connection[tuple[object, ...]]
) -> None:
    query = "select n as producer, n as sequence from generate_series(0, 50000000) as n"
    end = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy (select%'"

    def terminate() -> None:
        for _ in range(300):
            if database.execute(end).fetchall():
                return
            time.sleep(0.01)

    ending = threading.Thread(target=terminate)
    ending.start()
    with pytest.raises(CollectError, match="cannot be read: terminating connection"):
        _collected(_auditor(postgres, query))
    ending.join()
