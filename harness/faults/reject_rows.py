"""The database refuses known rows: every insert of a chosen event raises a real error.

A handler that logs and forgets then loses exactly these events, which makes a known loss.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import psycopg
from psycopg import sql

from harness.errors import FaultError
from harness.model import Evidence
from harness.site import Site

PARAMETERS = ("table", "every", "remainder")
CONNECT_S = 5

_CREATE = """
create sequence {counter};
grant usage on sequence {counter} to public;
create function {function}() returns trigger language plpgsql as $$
begin
    perform nextval({name});
    raise exception 'row refused by a fault';
end $$;
create trigger {trigger} before insert on {table} for each row
when (new.sequence % {every} = {remainder}) execute function {function}();
"""
_DROP = """
drop trigger if exists {trigger} on {table};
drop function if exists {function}();
drop sequence if exists {counter};
"""
_COUNT = "select case when is_called then last_value else 0 end from {counter}"


class RejectRows:
    """Refuses the rows whose sequence leaves ``remainder`` when divided by ``every``.

    Evidence: the trigger in the catalogue, a sequence that counts refusals (a sequence is
    not rolled back with its transaction), and the database's count of rollbacks.
    """

    needs: tuple[type, ...] = ()

    def __init__(self, table: str, every: int, remainder: int) -> None:
        self._names = {
            "table": sql.Identifier(table),
            "trigger": sql.Identifier("lossmeter_reject"),
            "function": sql.Identifier("lossmeter_reject"),
            "counter": sql.Identifier("lossmeter_rejected"),
            "name": sql.Literal("lossmeter_rejected"),
            "every": sql.Literal(every),
            "remainder": sql.Literal(remainder),
        }
        self._rollbacks = 0
        self._injected = False

    def inject(self, site: Site) -> list[Evidence]:
        """Put the trigger on the table."""
        try:
            with self._connect(site) as connection:
                self._rollbacks = _rollbacks(connection)
                connection.execute(sql.SQL(_CREATE).format(**self._names))
                found = connection.execute(
                    "select tgenabled from pg_trigger where tgname = 'lossmeter_reject'"
                ).fetchone()
        except psycopg.Error as error:
            raise FaultError(f"reject-rows could not be put on the table: {error}") from None
        self._injected = True
        return [
            _evidence("pg_trigger", "the trigger is on the table", str(found), found is not None)
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Take the trigger away and read how often it fired."""
        if not self._injected:
            return []
        try:
            with self._connect(site) as connection:
                row = connection.execute(sql.SQL(_COUNT).format(**self._names)).fetchone()
                rollbacks = _rollbacks(connection) - self._rollbacks
                connection.execute(sql.SQL(_DROP).format(**self._names))
        except psycopg.Error as error:
            raise FaultError(f"reject-rows could not be taken off the table: {error}") from None
        fired = int(str(row[0])) if row else 0
        return [
            _evidence("trigger-counter", "rows were refused", f"{fired} rows", fired > 0),
            _evidence(
                "pg_stat_database",
                # Idle connections report their statistics late, so no exact count.
                "the database rolled transactions back",
                f"{rollbacks} rollbacks",
                rollbacks > 0,
            ),
        ]

    def _connect(self, site: Site) -> psycopg.Connection[tuple[object, ...]]:
        if "postgres" not in site.endpoints:
            raise FaultError("reject-rows needs a target that uses the harness's PostgreSQL")
        url = site.endpoints["postgres"].direct["url"]
        return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S)


def _rollbacks(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    row = connection.execute(
        "select xact_rollback from pg_stat_database where datname = current_database()"
    ).fetchone()
    return int(str(row[0])) if row else 0


def _evidence(source: str, claim: str, value: str, holds: bool) -> Evidence:
    return Evidence(source, claim, value, holds, time.time_ns())


def build(parameters: Mapping[str, str | int | float]) -> RejectRows:
    """Return the fault for ``table``, ``every`` and ``remainder``."""
    if set(parameters) != set(PARAMETERS):
        raise FaultError(f"reject-rows takes {', '.join(PARAMETERS)}")
    every = int(parameters["every"])
    return RejectRows(str(parameters["table"]), every, int(parameters["remainder"]))
