"""The database: where handlers insert, and where dead letters may be kept."""

from __future__ import annotations

import logging

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from targets.dispatcher.config import Database
from targets.dispatcher.events import Event

LOG = logging.getLogger(__name__)

# No unique constraint and no ON CONFLICT: an event delivered twice must stay visible.
_SCHEMA = """
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

# Beyond the workers' connections: dead letters, health checks, synchronous writes.
_SPARE = 3

DatabaseError = (psycopg.Error, PoolTimeout, OSError)


class Store:
    """A pool of connections to one database.

    Args:
        settings: where it is.
        workers: how many of them insert at once.
        boot_id: written beside each row, so that a row tells which life inserted it.
    """

    def __init__(self, settings: Database, workers: int, boot_id: str) -> None:
        self._boot_id = boot_id
        timeout_ms = int(settings.timeout_s * 1000)
        self.pool = AsyncConnectionPool(
            settings.url,
            open=False,
            min_size=min(workers, 2),
            max_size=workers + _SPARE,
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
            await connection.execute(_SCHEMA)

    async def insert(self, event: Event) -> None:
        """Insert one notice."""
        fields = (event.producer, event.sequence, event.key, event.payload, self._boot_id)
        async with self.pool.connection() as connection:
            await connection.execute(_INSERT, fields)

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
