"""The dispatcher's way to its database: an insert is done in time, or has failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from lossmeter_dispatcher.config import Database
from lossmeter_dispatcher.events import Event
from lossmeter_dispatcher.store import DatabaseError, Store
from tests.support.servers import Server

EVENT = Event(producer=1, sequence=2, key="k", payload="p")


def _with_store(postgres: Server, timeout_s: float, do: Callable[[Store], Awaitable[None]]) -> int:
    """Do something with a store on an empty table, and return how many rows there are then."""

    async def run() -> None:
        settings = Database(url=postgres.url, timeout_s=timeout_s)
        store = Store(settings, workers=1, aside=0, boot_id="b")
        await store.open()
        try:
            await do(store)
        finally:
            await store.close()

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("drop table if exists notice; drop table if exists dead_letter")
        asyncio.run(run())
        row = connection.execute("select count(*) from notice").fetchone()
    return int(row[0]) if row else -1


def test_an_insert_is_done(postgres: Server) -> None:
    assert _with_store(postgres, 5, lambda store: store.insert(EVENT)) == 1


def test_an_insert_that_gets_no_connection_in_time_fails_and_is_never_done(
    postgres: Server,
) -> None:
    async def hold(store: Store) -> None:
        async with store.pool.connection():
            await asyncio.sleep(1)

    async def insert_while_all_are_held(store: Store) -> None:
        holders = [asyncio.ensure_future(hold(store)) for _ in range(store.pool.max_size)]
        await asyncio.sleep(0.2)
        begin = time.monotonic()
        with pytest.raises(DatabaseError):
            await store.insert(EVENT)
        assert time.monotonic() - begin < 0.7
        await asyncio.gather(*holders)
        await asyncio.sleep(0.3)

    assert _with_store(postgres, 0.3, insert_while_all_are_held) == 0


def test_an_insert_whose_turn_comes_too_late_is_a_failure_and_not_done(postgres: Server) -> None:
    async def insert_late(store: Store) -> None:
        statement = "insert into notice (producer, sequence, key, payload, boot_id) values %s"
        with pytest.raises(TimeoutError, match=r"did not answer within 5 s"):
            await store._execute_until(time.monotonic() - 0.001, statement, ())

    assert _with_store(postgres, 5, insert_late) == 0
