"""Counting rows a hundred times a second, as the condition ``persisted >= n`` does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.auditor import Auditor, auditor
from lossmeter_dispatcher.store import SCHEMA
from tests.support.servers import Server

ROWS = 20_000
POLLED_WITHIN_S = 0.020


@pytest.fixture
def table(postgres: Server) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The dispatcher's own table with more rows than most runs leave."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("drop table if exists notice; drop table if exists dead_letter")
        connection.execute(SCHEMA.encode())
        connection.execute(
            "insert into notice (producer, sequence, key, payload, boot_id) "
            "select n %% 8, n / 8, 'k', repeat('p', 64), repeat('b', 32) "
            "from generate_series(1, %s) as n",
            (ROWS,),
        )
        yield connection
        connection.execute("drop table notice; drop table dead_letter")


def _auditor(postgres: Server, **more: str) -> Auditor:
    shipped = Catalogue.here().target("channel").persisted
    return auditor("t", shipped.model_copy(update={"database": postgres.url, **more}))


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "more", [{}, {"count_query": "select last_value from notice_id_seq"}], ids=["rows", "sequence"]
)
def test_a_look_takes_less_than_the_time_between_two(
    postgres: Server, more: dict[str, str]
) -> None:
    reader = _auditor(postgres, **more)
    reader.check()
    count = reader.counter()
    took_s = []
    for _ in range(50):
        begin = time.perf_counter()
        assert count() == ROWS
        took_s.append(time.perf_counter() - begin)
    count.close()
    middle_s = sorted(took_s)[len(took_s) // 2]
    print(f"{ROWS} rows: {middle_s * 1000:.2f} ms a look")  # noqa: T201
    assert middle_s < POLLED_WITHIN_S


def test_a_broken_connection_is_replaced(
    postgres: Server, table: psycopg.Connection[tuple[object, ...]]
) -> None:
    count = _auditor(postgres).counter()
    assert count() == ROWS
    table.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
        "and backend_type = 'client backend'"
    )
    assert count() is None
    assert count() == ROWS
    count.close()


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select 'many'", "must return one whole number"),
        ("select 1, 2", "must return one whole number"),
        ("select count(*) from notices", 'relation "notices" does not exist'),
    ],
)
def test_a_wrong_query_is_named_before_any_load(postgres: Server, query: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"persisted\.count_query") as caught:
        _auditor(postgres, count_query=query).check()
    assert said in str(caught.value)
