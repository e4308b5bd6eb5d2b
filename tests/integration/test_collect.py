"""Rows deleted, doubled, altered or invented by hand in a real PostgreSQL are found, exactly."""

from __future__ import annotations

import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from lossmeter.errors import CollectError, UsageError
from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.load.schedule import payload
from lossmeter.model import Counts, Status
from lossmeter.plan.target import Persisted
from lossmeter.record.arrays import INTENT, OUTCOME, UNDATED, Held, Operations
from lossmeter.record.collected import ARRAYS, Collected
from lossmeter.record.payloads import payload_hash
from lossmeter.world.auditor import Auditor, auditor
from lossmeter.world.stores import Columns
from lossmeter.world.stores import _postgres_copying as copying
from tests.support.servers import Server

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


def _described() -> tuple[np.ndarray, np.ndarray]:
    """Return intents and outcomes: every event was acked, one after the other."""
    n = np.arange(EVENTS)
    intents, outcomes = np.zeros(EVENTS, INTENT), np.zeros(EVENTS, OUTCOME)
    for operations in (intents, outcomes):
        operations["producer"], operations["sequence"] = n % PRODUCERS, n // PRODUCERS
    intents["sent_ns"] = n * 1000
    intents["payload_hash"] = [payload_hash(_payload(i)) for i in range(EVENTS)]
    outcomes["done_ns"] = n * 1000 + 500
    outcomes["status"] = Status.ACKED
    return intents, outcomes


def _auditor(postgres: Server, query: str = QUERY) -> Auditor:
    return auditor("t", Persisted(database=postgres.url, query=query))


def _collected(auditor: Auditor) -> Collected:
    with tempfile.TemporaryDirectory() as folder:
        auditor.save(Path(folder))
        return Collected.load(Path(folder))


def _ledger(postgres: Server) -> Ledger:
    reader = _auditor(postgres)
    columns = reader.check()
    assert columns == Columns(payload_hash=True, position=True, persisted_at=True)
    collected = _collected(reader)
    held = Held(collected.rows, collected.dead_lettered, collected.pending)
    return reconcile(Operations(*_described()), held)


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
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(CollectError, match=r"cannot be written: File too large"):
            _auditor(postgres).save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


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
    return auditor("t", persisted)


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
    reader = _auditor(postgres, "select producer, sequence from handmade;")
    assert reader.check() == Columns(payload_hash=False, position=False, persisted_at=False)
    assert len(_collected(reader).rows) == EVENTS


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select producer from handmade", "must return the column 'sequence'"),
        ("select nonsense", "is not a query that works"),
        ("select * from nowhere", 'relation "nowhere" does not exist'),
        ("drop table handmade", "is not a query that works"),
        (
            "select 1 as producer, 1 as sequence) as x; drop table handmade; select * from (select",
            "cannot execute DROP TABLE in a read-only transaction",
        ),
        (
            "select '{}'::jsonb as producer, 1 as sequence",
            "returns 'producer' as jsonb; it must be a whole number",
        ),
        (
            "select 1 as producer, 1 as sequence, now()::date as persisted_at",
            "returns 'persisted_at' as date; it must be a timestamp with time zone",
        ),
    ],
)
def test_a_wrong_query_is_refused_before_any_load(postgres: Server, query: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        _auditor(postgres, query).check()
    assert said in str(caught.value)
    assert "persisted.query" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("database")
def test_ids_that_are_no_whole_numbers_are_nobodys(postgres: Server) -> None:
    for ids in (
        "(1.5), (-1e30), (4294967296.0 * 4294967296), ('NaN'::numeric), (2.0::numeric)",
        "(1.5::float8), (-1e300), ('NaN'), ('Infinity'), (2)",
        "(1.5::float4), (-1e30), ('NaN'), ('-Infinity'), (2)",
        "('1.5'::text), ('<script>'), ('11111111111111111111'), (''), (' 2 ')",
        "(null::bigint), (-1), (-1), (-1), (2)",
    ):
        query = f"select id as producer, id as sequence from (values {ids}) as v (id) -- ids"
        reader = _auditor(postgres, query)
        reader.check()
        rows = _collected(reader).rows
        assert rows["producer"].tolist() == rows["sequence"].tolist() == [-1, -1, -1, -1, 2]


def test_a_hash_is_the_same_with_a_sign_and_without_one(postgres: Server) -> None:
    for hashes in (
        "(18446744073709551611::numeric), (-5), (9223372036854775807), (1.5), (2::numeric ^ 64)",
        "('18446744073709551611'::text), ('-5'), ('9223372036854775807'), ('1.5'), ('x')",
    ):
        query = (
            f"select 1 as producer, 1 as sequence, h as payload_hash from (values {hashes}) v (h)"
        )
        found = _collected(_auditor(postgres, query)).rows["payload_hash"].tolist()
        assert found == [-5, -5, 2**63 - 1, -1, -1]


def test_a_dead_letter_of_an_id_beyond_32_bits_stays_what_it_is(postgres: Server) -> None:
    letters = "select 3 + 4294967296 as producer, 7 as sequence; -- all of them"
    persisted = Persisted(
        database=postgres.url,
        query="select 1 as producer, 1 as sequence",
        dead_letter_query=letters,
        pending_query=letters,
    )
    reader = auditor("t", persisted)
    reader.check()
    collected = _collected(reader)
    for array in (collected.dead_lettered, collected.pending):
        assert array.tolist() == [(3 + 2**32, 7)]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
def test_a_time_without_a_zone_is_read_as_utc_whatever_the_session(
    postgres: Server, zone: str
) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("drop table if exists local_times")
        connection.execute("create table local_times (at timestamp default now())")
        connection.execute(f"set timezone = '{zone}'")  # type: ignore[arg-type]
        connection.execute("insert into local_times default values")
        (offset_s,) = connection.execute("select extract(timezone from now())::int").fetchone() or (
            0,
        )
    query = "select 1 as producer, 1 as sequence, at as persisted_at from local_times"
    (row,) = _collected(_auditor(postgres, query)).rows
    age_s = time.time() - int(row["persisted_ns"]) / 1e9
    assert -int(str(offset_s)) - 1 <= age_s < -int(str(offset_s)) + 60


def test_a_database_that_is_away_is_an_error_not_an_empty_result(postgres: Server) -> None:
    url = postgres.url.replace(postgres.address, "127.0.0.1:1")
    reader = auditor("t", Persisted(database=url, query=QUERY))
    with pytest.raises(UsageError, match="cannot be reached"):
        reader.check()
    with pytest.raises(CollectError, match="the database is away"):
        _collected(reader)


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
    undated = (rows["sequence"] % 5 == 0) | (rows["sequence"] == 7)
    assert (rows["persisted_ns"][undated] == UNDATED).all()
    assert (rows["persisted_ns"][~undated] > 0).all()


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
