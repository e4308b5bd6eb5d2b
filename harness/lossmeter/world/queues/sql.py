"""PostgreSQL: a query that returns one number, such as the jobs that are not done, or these."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

from lossmeter.errors import UsageError
from lossmeter.plan.kinds import Interpolate
from lossmeter.plan.kinds import Options as Common
from lossmeter.record.arrays import Records
from lossmeter.record.whole import FOREIGN, whole
from lossmeter.world import beginnings
from lossmeter.world.queues._ids import entries, ident, seconds
from lossmeter.world.sessions import connect

_WITHIN_S = 2


class Pending(Common):
    """A query of the jobs that are not done, one row each.

    Its columns are ``producer``, ``sequence`` and ``owned``: whether somebody has it in hand;
    and ``age_s`` where the table says for how many seconds it has been so.
    """

    query: str


class Options(Common):
    """``url`` of the server, around every proxy, and the ``query``."""

    url: str = "{postgres.url}"
    query: str
    pending: Pending | None = None

    def open(self, interpolate: Interpolate) -> Length:
        """Return what runs the query."""
        return Length(interpolate(self.url), self.query, "queue.query")

    def ids(self, interpolate: Interpolate) -> Jobs | None:
        """Return what runs the query of the jobs."""
        if self.pending is None:
            return None
        return Jobs(interpolate(self.url), self.pending.query, "queue.pending.query")


class _Bounded(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which nothing is waited for longer than a moment.

    A server that is frozen keeps its connections, so only who waits can give up.
    """

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait until something is done; no longer than a moment."""
        return super().wait(gen, interval, timeout=_WITHIN_S if timeout is None else timeout)


class _Asked:
    """Runs a query over one connection.

    Raises:
        UsageError: at a reading, the query does not work, or returns something else.
    """

    def __init__(self, url: str, query: str, name: str) -> None:
        self._url, self._query, self._name = url, query, name
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def _cursor(self) -> psycopg.Cursor[tuple[Any, ...]] | None:
        try:
            if self._connection is None:
                self._connection = connect(
                    self._url, autocommit=True, kind=_Bounded, connect_timeout=_WITHIN_S
                )
            return self._connection.execute(self._query.encode())
        except psycopg.OperationalError:
            self.close()
            return None
        except psycopg.Error as error:
            why = " ".join(str(error).split())
            raise UsageError(f"{self._name} is not a query that works: {why}") from None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Length(_Asked):
    """Reads one number."""

    def __call__(self) -> int | None:
        """Return how many events wait now; None while the server does not say."""
        cursor = self._cursor()
        if cursor is None:
            return None
        row = cursor.fetchone()
        number = whole(row[0]) if row is not None and len(row) == 1 else FOREIGN
        if number < 0:
            raise UsageError(f"{self._name} must return one whole number; it returns {row!r}")
        return number

    def began(self) -> str | None:
        """Ask since when the server serves."""
        return beginnings.of_postgres(self._url)


class Jobs(_Asked):
    """Reads a row for each job."""

    leaves_no_trace = True

    def __call__(self) -> Records | None:
        """Return the jobs that are not done, dtype ENTRY; None while the server does not say."""
        cursor = self._cursor()
        if cursor is None:
            return None
        columns = [column.name for column in cursor.description or ()]
        for needed in ("producer", "sequence", "owned"):
            if needed not in columns:
                raise UsageError(
                    f"{self._name} must return the column {needed!r}; it returns "
                    + ", ".join(columns)
                )
        rows = (dict(zip(columns, row, strict=True)) for row in cursor)
        return entries(
            (ident(row["producer"], row["sequence"]), bool(row["owned"]), seconds(row.get("age_s")))
            for row in rows
        )
