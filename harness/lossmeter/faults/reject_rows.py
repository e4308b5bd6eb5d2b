"""The database refuses known rows: every insert of a chosen event raises a real error.

A handler that logs and forgets then loses exactly these events, which makes a known loss.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from lossmeter.errors import FaultError
from lossmeter.faults._fault import now
from lossmeter.faults._tables import AtTable, Rows, number
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Site

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
_ROLLBACKS = "select xact_rollback from pg_stat_database where datname = current_database()"
_COUNT = "select case when is_called then last_value else 0 end from {counter}"


class RejectRows(AtTable[Rows]):
    """Refuses the rows whose sequence leaves ``remainder`` when divided by ``every``.

    Evidence: the trigger in the catalogue, a sequence that counts refusals (a sequence is
    not rolled back with its transaction), and the database's count of rollbacks.
    """

    takes = Rows

    _rollbacks = 0
    _injected = False

    def inject(self, site: Site) -> list[Evidence]:
        """Put the trigger on the table."""
        try:
            with self.connect(site) as connection:
                self._rollbacks = number(connection, _ROLLBACKS)
                connection.execute(self.sql(_CREATE))
                found = connection.execute(
                    "select tgenabled from pg_trigger where tgname = 'lossmeter_reject'"
                ).fetchone()
        except psycopg.Error as error:
            raise FaultError(f"reject-rows could not be put on the table: {error}") from None
        self._injected = True
        return [now("pg_trigger", "the trigger is on the table", str(found), found is not None)]

    def heal(self, site: Site) -> list[Evidence]:
        """Take the trigger away and read how often it fired."""
        if not self._injected:
            return []
        try:
            with self.connect(site) as connection:
                fired = number(connection, self.sql(_COUNT))
                rollbacks = number(connection, _ROLLBACKS) - self._rollbacks
                connection.execute(self.sql(_DROP))
        except psycopg.Error as error:
            raise FaultError(f"reject-rows could not be taken off the table: {error}") from None
        return [
            now("trigger-counter", "rows were refused", plural(fired, "row"), fired > 0),
            now(
                "pg_stat_database",
                # Idle connections report their statistics late, so no exact count.
                "the database rolled transactions back",
                plural(rollbacks, "rollback"),
                rollbacks > 0,
            ),
        ]

    def names(self) -> dict[str, sql.Composable]:
        """Return what the statements name."""
        return {
            "trigger": sql.Identifier("lossmeter_reject"),
            "function": sql.Identifier("lossmeter_reject"),
            "counter": sql.Identifier("lossmeter_rejected"),
            "name": sql.Literal("lossmeter_rejected"),
        }
