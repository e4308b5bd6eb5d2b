"""Since when a server serves, as it says itself over the way by which it is read.

A server that the harness did not start has no process and no log to look at. That it began anew
in the middle of a run is all that is needed: what it lost then is not the target's doing.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

Beginning = str | float
"""What a server says of its beginning: its own words, or seconds on this machine's clock."""

_WITHIN_S = 5.0
# A server that tells whole seconds, and the time that its answer takes.
_APART_S = 3.0

# A backend's crash has PostgreSQL begin anew within one main process, with a new checkpointer,
# which is shown to those who may see the sessions of others.
_OF_POSTGRES = """
select concat(pg_postmaster_start_time(), ' ', (
    select backend_start from pg_stat_activity where backend_type = 'checkpointer'
))
"""


@runtime_checkable
class KnowsBeginning(Protocol):
    """What is read from a server that can say since when it serves."""

    def began(self) -> Beginning | None:
        """Ask over a connection of its own; None while the server does not say."""


def differ(one: Beginning, other: Beginning) -> bool:
    """Return whether two answers are of two lifetimes."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) > _APART_S
    return one != other


def of_postgres(url: str) -> str | None:
    """Ask a PostgreSQL since when it serves."""
    import psycopg  # noqa: PLC0415 - heavy, and the CLI must start fast

    from lossmeter.world.sessions import connect  # noqa: PLC0415 - likewise

    try:
        with connect(url, autocommit=True) as connection:
            row = connection.execute(_OF_POSTGRES).fetchone()
    except psycopg.Error:
        return None
    return str(row[0]).strip() if row else None


def of_redis(url: str) -> str | None:
    """Ask a Redis for the random id that it gives itself at each start."""
    import redis  # noqa: PLC0415 - only what reads from one needs it

    try:
        with redis.Redis.from_url(
            url, socket_timeout=_WITHIN_S, socket_connect_timeout=_WITHIN_S
        ) as client:
            found = client.info("server").get("run_id")
    except (redis.RedisError, ValueError):
        return None
    return str(found) if found else None
