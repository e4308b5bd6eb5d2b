"""The database: where handlers insert, and where dead letters may be kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from lossmeter_dispatcher.coalesce import Coalescer
from lossmeter_dispatcher.config import Database
from lossmeter_dispatcher.events import Event

LOG = logging.getLogger(__name__)

# No unique constraint and no ON CONFLICT: an event delivered twice must stay visible.
SCHEMA = """
select pg_advisory_xact_lock(815);
create table if not exists notice (
    id bigserial primary key,
    producer bigint not null,
    sequence bigint not null,
    key text not null,
    payload text not null,
    boot_id text not null,
    persisted_at timestamptz not null default clock_timestamp()
);
create table if not exists dead_letter (
    id bigserial primary key,
    producer bigint not null,
    sequence bigint not null,
    key text not null,
    payload text not null,
    reason text not null,
    accepted_at double precision not null,
    failed_at timestamptz not null default clock_timestamp()
);
"""
_INSERT = (
    "insert into notice (producer, sequence, key, payload, boot_id) values (%s, %s, %s, %s, %s)"
)
_INSERT_MANY = (
    "insert into notice (producer, sequence, key, payload, boot_id) select *, %s from "
    "unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[])"
)

# Batches under way at once: one is written while the next is gathered and sent.
_WRITERS = 2

# Beyond the workers' connections: dead letters, health checks, synchronous writes.
_SPARE = 3

DatabaseError = (psycopg.Error, PoolTimeout, OSError)


class Store:
    """A pool of connections to one database.

    Args:
        settings: where it is.
        workers: how many of them insert at once; in batches, a few connections serve all.
        aside: how many slow queries may be under way beside them.
        boot_id: written beside each row, so that a row tells which life inserted it.
    """

    def __init__(self, settings: Database, workers: int, aside: int, boot_id: str) -> None:
        self._boot_id = boot_id
        self._timeout_s = settings.timeout_s
        self._given_up: set[asyncio.Task[None]] = set()
        self._batches: Coalescer[Event, None] | None = None
        if settings.batch_rows > 1:
            self._batches = Coalescer(self._insert_many, settings.batch_rows, _WRITERS)
            workers = min(workers, _WRITERS)
        timeout_ms = int(settings.timeout_s * 1000)
        self.pool = AsyncConnectionPool(
            settings.url,
            open=False,
            min_size=min(workers, 2),
            max_size=workers + aside + _SPARE,
            timeout=settings.timeout_s,
            reconnect_timeout=0,
            # A connection that died while idle must not cost an event.
            check=AsyncConnectionPool.check_connection,
            kwargs={
                "autocommit": True,
                "connect_timeout": max(2, round(settings.timeout_s)),
                "options": f"-c statement_timeout={timeout_ms}",
                "tcp_user_timeout": timeout_ms,
            },
        )

    async def open(self) -> None:
        """Connect and make the tables.

        Raises:
            psycopg.Error, PoolTimeout, OSError: the database is not there (yet).
        """
        await self.pool.open()
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(SCHEMA)

    async def insert(self, event: Event) -> None:
        """Insert one notice; with others where batches are asked for."""
        if self._batches is None:
            await self._insert_one(event)
        else:
            await self._batches(event)

    async def _insert_one(self, event: Event) -> None:
        fields = (event.producer, event.sequence, event.key, event.payload, self._boot_id)
        await self._execute(_INSERT, fields)

    async def _insert_many(self, events: list[Event]) -> list[Exception | None]:
        """Insert all in one statement; where a row is refused, each on its own."""
        columns = (
            [event.producer for event in events],
            [event.sequence for event in events],
            [event.key for event in events],
            [event.payload for event in events],
        )
        try:
            await self._execute(_INSERT_MANY, (self._boot_id, *columns))
        except psycopg.OperationalError:
            # Nobody knows whether it was done; doing it again is the workers' decision.
            raise
        except psycopg.DatabaseError:
            # The statement had no effect, and one bad row must not fail the others.
            return [await self._outcome(event) for event in events]
        return [None] * len(events)

    async def _outcome(self, event: Event) -> Exception | None:
        try:
            await self._insert_one(event)
        except DatabaseError as error:
            return error
        return None

    async def _execute(self, statement: LiteralString, fields: Sequence[object]) -> None:
        """Execute a statement, or fail when there is no answer in time.

        The server's own limit does not help where it cannot be reached.

        Raises:
            TimeoutError: no answer in time; whether it was executed is not known.
        """
        until = time.monotonic() + self._timeout_s
        task = asyncio.create_task(self._execute_until(until, statement, fields))
        if (await asyncio.wait({task}, timeout=self._timeout_s))[0]:
            task.result()
            return
        # Not cancelled: the driver would tell the server so, over the same way, and wait.
        self._given_up.add(task)
        task.add_done_callback(self._forget)
        raise self._too_late()

    async def _execute_until(
        self, until: float, statement: LiteralString, fields: Sequence[object]
    ) -> None:
        async with self.pool.connection() as connection:
            if time.monotonic() >= until:
                # The caller has given up, or is about to, and may be trying again.
                raise self._too_late()
            await connection.execute(statement, fields)

    def _too_late(self) -> TimeoutError:
        return TimeoutError(f"the database did not answer within {self._timeout_s:g} s")

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._given_up.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            LOG.debug("given up before, failed now: %s", error)

    async def sleep(self, seconds: float) -> None:
        """Run a query that takes that long: a slow query, for the slow handler."""
        async with self.pool.connection() as connection:
            await connection.execute("select pg_sleep(%s)", (seconds,))

    async def answers(self) -> bool:
        """Return whether the database answers a query."""
        try:
            async with self.pool.connection(timeout=1.0) as connection:
                await connection.execute("select 1")
        except DatabaseError:
            return False
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close(timeout=1.0)
