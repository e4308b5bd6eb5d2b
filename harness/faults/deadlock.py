"""Inserts run into real deadlocks: another application takes the same rows the other way round.

A trigger has each insert of a chosen event update two rows, as a counter of unread notices
and a total would be; competing transactions update the same two in the opposite order. They
never look for deadlocks themselves, so that it is the insert which PostgreSQL ends.

Parameters:
    table: whose inserts are hit.
    every, remainder: chosen are events whose sequence leaves ``remainder`` when divided by
        ``every``.
    pairs: pairs of rows, and competing transactions; the producer decides which one is met.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import psycopg
from psycopg import sql

from harness.errors import FaultError
from harness.faults._lives import capable
from harness.model import Evidence
from harness.site import ServersLogged, Site

NAME = "deadlock"
PARAMETERS = ("table", "every", "remainder", "pairs")
MAX_PAIRS = 64
CONNECT_S = 5
LOCK_S = 15
LOOK_EVERY_S = 0.05
DEADLOCK = "deadlock detected"
# A connection reports its statistics some seconds late when it is idle.
REPORTED_WITHIN_S = 12.0

_CREATE = """
create table {rows} (pair bigint, part text, n bigint not null default 0, primary key (pair, part));
insert into {rows} select pair, part
    from generate_series(0, {pairs} - 1) pair, (values ('one'), ('other')) parts (part);
grant select, update on {rows} to public;
create function {function}() returns trigger language plpgsql as $$
begin
    update {rows} set n = n + 1 where pair = new.producer % {pairs} and part = 'one';
    update {rows} set n = n + 1 where pair = new.producer % {pairs} and part = 'other';
    return new;
end $$;
create trigger {trigger} before insert on {table} for each row
when (new.sequence % {every} = {remainder}) execute function {function}();
"""
_DROP = """
drop trigger if exists {trigger} on {table};
drop function if exists {function}();
drop table if exists {rows};
"""
_TAKE = "update {rows} set n = n + 1 where pair = %s and part = %s"
# Somebody waits for this transaction to end.
_AWAITED = """
select exists (select from pg_locks where locktype = 'transactionid' and not granted
               and transactionid = pg_current_xact_id()::xid)
"""
_COUNT = "select deadlocks from pg_stat_database where datname = current_database()"

_Connection = psycopg.Connection[tuple[object, ...]]


class _Competitors:
    """Transactions that take the same rows the other way round, one for each pair of rows."""

    def __init__(self, connect: Callable[[], _Connection], take: sql.Composed, pairs: int) -> None:
        self.won = 0
        self.problem = ""
        self._connect = connect
        self._take = take
        self._over = threading.Event()
        self._counting = threading.Lock()
        self._ready = threading.Barrier(pairs + 1)
        self._threads = [
            threading.Thread(target=self._compete, args=(pair,), daemon=True)
            for pair in range(pairs)
        ]

    def begin(self) -> None:
        """Begin to compete; returns when all do.

        Raises:
            FaultError: some cannot.
        """
        for thread in self._threads:
            thread.start()
        try:
            self._ready.wait(CONNECT_S)
        except threading.BrokenBarrierError:
            raise FaultError(f"{NAME}: nobody competes: {self.problem or 'no reason'}") from None

    def end(self) -> None:
        """Compete no more."""
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(LOCK_S)

    def _compete(self, pair: int) -> None:
        try:
            with self._connect() as connection:
                # Whoever looks for a deadlock first is the one that is ended for it.
                connection.execute("set deadlock_timeout = '1h'")
                connection.autocommit = False
                self._ready.wait(CONNECT_S)
                while not self._over.is_set():
                    self._meet(connection, pair)
        except (psycopg.Error, threading.BrokenBarrierError) as error:
            self.problem = f"pair {pair}: {' '.join(str(error).split())}"
            self._ready.abort()

    def _meet(self, connection: _Connection, pair: int) -> None:
        """Hold the one row, and want the other as soon as somebody waits for the first."""
        connection.execute(self._take, (pair, "other"))
        while not self._over.is_set():
            if connection.execute(_AWAITED).fetchone() == (True,):
                connection.execute(self._take, (pair, "one"))
                with self._counting:
                    self.won += 1
                break
            time.sleep(LOOK_EVERY_S)
        connection.rollback()


class Deadlock:
    """Makes chosen inserts deadlock with other transactions.

    Evidence: the server's log, its own count of deadlocks, and the competing transactions,
    which got rows that others had held and were made to let go of.
    """

    needs: tuple[type, ...] = (ServersLogged,)
    servers: tuple[str, ...] = ("postgres",)
    way: Literal["any", "proxied", "disk"] = "any"

    def __init__(self, table: str, every: int, remainder: int, pairs: int) -> None:
        self._names = {
            "table": sql.Identifier(table),
            "rows": sql.Identifier("lossmeter_contended"),
            "trigger": sql.Identifier("lossmeter_contend"),
            "function": sql.Identifier("lossmeter_contend"),
            "every": sql.Literal(every),
            "remainder": sql.Literal(remainder),
            "pairs": sql.Literal(pairs),
        }
        self._pairs = pairs
        self._competitors: _Competitors | None = None
        self._counted = 0
        self._logged = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Put the trigger on the table and begin to compete."""
        logged = capable(site, ServersLogged, NAME)
        connect = partial(self._connect, site)
        self._logged = logged.server_log("postgres").count(DEADLOCK)
        try:
            with connect() as connection:
                self._counted = _count(connection)
                self._competitors = _Competitors(connect, self._sql(_TAKE), self._pairs)
                connection.execute(self._sql(_CREATE))
        except psycopg.Error as error:
            raise FaultError(f"{NAME} could not be prepared: {error}") from None
        self._competitors.begin()
        return []

    def heal(self, site: Site) -> list[Evidence]:
        """Compete no more, take the trigger away, and read how often it came to it."""
        logged = capable(site, ServersLogged, NAME)
        competitors = self._competitors
        if competitors is None:
            return []
        competitors.end()
        try:
            with self._connect(site) as connection:
                connection.execute(self._sql(_DROP))
                told = logged.server_log("postgres").count(DEADLOCK) - self._logged
                counted = self._reported(connection, told)
        except psycopg.Error as error:
            raise FaultError(f"{NAME} could not be taken off the table: {error}") from None
        won, problem = competitors.won, competitors.problem
        return [
            _evidence(
                "competing-transactions",
                "they got rows that others were made to let go of",
                f"{won} times{f'; {problem}' if problem else ''}",
                won > 0 and not problem,
            ),
            _evidence("server-log", "the server detected deadlocks", f"{told} times", told > 0),
            _evidence(
                "pg_stat_database", "the server counted deadlocks", f"{counted}", counted > 0
            ),
        ]

    def _reported(self, connection: _Connection, told: int) -> int:
        """Return the server's count, which may come late if its log tells of any."""
        deadline = time.monotonic() + (REPORTED_WITHIN_S if told else 0.0)
        while True:
            counted = _count(connection) - self._counted
            if counted or time.monotonic() > deadline:
                return counted
            time.sleep(LOOK_EVERY_S)

    def _sql(self, statement: str) -> sql.Composed:
        return sql.SQL(statement).format(**self._names)

    def _connect(self, site: Site) -> _Connection:
        if "postgres" not in site.endpoints:
            raise FaultError(f"{NAME} needs a target that uses the harness's PostgreSQL")
        url = site.endpoints["postgres"].direct["url"]
        return psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            options=f"-c lock_timeout={LOCK_S * 1000}",
        )


def _count(connection: _Connection) -> int:
    row = connection.execute(_COUNT).fetchone()
    return int(str(row[0])) if row else 0


def _evidence(source: str, claim: str, value: str, holds: bool) -> Evidence:
    return Evidence(source, claim, value, holds, time.time_ns())


def build(parameters: Mapping[str, str | int | float]) -> Deadlock:
    """Return the fault for ``table``, ``every``, ``remainder`` and ``pairs``.

    Raises:
        FaultError: one is unknown, missing or impossible.
    """
    if set(parameters) != set(PARAMETERS):
        raise FaultError(f"{NAME} takes {', '.join(PARAMETERS)}, got {', '.join(parameters)}")
    numbers = {name: parameters[name] for name in PARAMETERS[1:]}
    for name, value in numbers.items():
        if not isinstance(value, int) or value < 0:
            raise FaultError(f"{NAME}: {name} is {value!r}; right is a whole number")
    every, remainder, pairs = (int(value) for value in numbers.values())
    if not remainder < every:
        raise FaultError(f"{NAME}: remainder {remainder} is never left by a division by {every}")
    if not 1 <= pairs <= MAX_PAIRS:
        raise FaultError(f"{NAME}: pairs is {pairs}; right is 1 to {MAX_PAIRS}")
    return Deadlock(str(parameters["table"]), every, remainder, pairs)
