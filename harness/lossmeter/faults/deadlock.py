"""Inserts run into real deadlocks: another application takes the same rows the other way round.

A trigger has each insert of a chosen event update two rows, as a counter of unread notices
and a total would be; competing transactions update the same two in the opposite order. They
never look for deadlocks themselves, so that it is the insert which PostgreSQL ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import psycopg
from psycopg import sql

from lossmeter.errors import FaultError
from lossmeter.faults._fault import now, within
from lossmeter.faults._servers import said_since
from lossmeter.faults._tables import CONNECT_S, AtTable, Connection, Rows, number
from lossmeter.model import Evidence, plural
from lossmeter.world.site import ServersLogged, Site
from lossmeter.world.waiting import wait_for

MAX_PAIRS = 64
LOCK_S = 15
_OPTIONS = f"-c lock_timeout={LOCK_S * 1000}"
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


class _Competitors:
    """Transactions that take the same rows the other way round, one for each pair of rows."""

    def __init__(self, connect: Callable[[], Connection], take: sql.Composed, pairs: int) -> None:
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
            raise FaultError(f"deadlock: nobody competes: {self.problem or 'no reason'}") from None

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

    def _meet(self, connection: Connection, pair: int) -> None:
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


class Takes(Rows):
    """Which rows, and how many pairs compete with their inserts; the producer decides which."""

    pairs: Annotated[int, within(1, MAX_PAIRS, "pairs of rows")]


class Deadlock(AtTable[Takes]):
    """Makes chosen inserts deadlock with other transactions.

    Evidence: the server's log, its own count of deadlocks, and the competing transactions,
    which got rows that others had held and were made to let go of.
    """

    takes = Takes
    needs = (ServersLogged,)

    _competitors: _Competitors | None = None
    _counted = 0
    _logged = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Put the trigger on the table and begin to compete."""
        logged = self.capable(site, ServersLogged)
        connect = partial(self.connect, site, _OPTIONS)
        self._logged = logged.server_log("postgres").count(DEADLOCK)
        try:
            with connect() as connection:
                self._counted = number(connection, _COUNT)
                self._competitors = _Competitors(connect, self.sql(_TAKE), self.asked.pairs)
                connection.execute(self.sql(_CREATE))
        except psycopg.Error as error:
            raise FaultError(f"deadlock could not be prepared: {error}") from None
        self._competitors.begin()
        return []

    def heal(self, site: Site) -> list[Evidence]:
        """Compete no more, take the trigger away, and read how often it came to it."""
        logged = self.capable(site, ServersLogged)
        competitors = self._competitors
        if competitors is None:
            return []
        competitors.end()
        try:
            with self.connect(site, _OPTIONS) as connection:
                connection.execute(self.sql(_DROP))
                said = said_since(lambda: logged.server_log("postgres"), DEADLOCK, self._logged)
                counted = self._reported(connection, said)
        except psycopg.Error as error:
            raise FaultError(f"deadlock could not be taken off the table: {error}") from None
        won, problem = competitors.won, competitors.problem
        return [
            now(
                "competing-transactions",
                "they got rows that others were made to let go of",
                f"{plural(won, 'time')}{f'; {problem}' if problem else ''}",
                won > 0 and not problem,
            ),
            now("server-log", "the server detected deadlocks", plural(said, "time"), said > 0),
            now("pg_stat_database", "the server counted deadlocks", f"{counted}", counted > 0),
        ]

    def _reported(self, connection: Connection, said: int) -> int:
        """Return the server's count, which may come late if its log has any."""
        return wait_for(
            lambda: number(connection, _COUNT) - self._counted,
            REPORTED_WITHIN_S if said else 0.0,
            LOOK_EVERY_S,
        )

    def names(self) -> dict[str, sql.Composable]:
        """Return what the statements name."""
        return {
            "rows": sql.Identifier("lossmeter_contended"),
            "trigger": sql.Identifier("lossmeter_contend"),
            "function": sql.Identifier("lossmeter_contend"),
            "pairs": sql.Literal(self.asked.pairs),
        }
