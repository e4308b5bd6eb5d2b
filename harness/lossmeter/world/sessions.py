"""Sessions with PostgreSQL that depend on what they are given, and on nothing else.

What it is not given, libpq takes from the environment and the home of the caller: PGHOST,
PGSSLMODE, PGOPTIONS, PGTZ and many more, the passwords of ``~/.pgpass``, the services of
``~/.pg_service.conf``. A URL that names a ``service`` or a ``passfile`` itself gets it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import psycopg

CONNECT_S = 5
_VARIABLES = "PG"
# libpq passes over a file that is not there.
_NO_FILE = "/nonexistent/pgpass"


class _Away:
    """Keeps libpq's variables out of this process's environment while a session begins.

    Some of them have no parameter that would overrule them, so they have to be away. Sessions
    may begin side by side: the last one to be there puts the variables back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._kept: dict[str, str] = {}

    def __enter__(self) -> Self:
        with self._lock:
            if not self._inside:
                names = [name for name in os.environ if name.startswith(_VARIABLES)]
                self._kept = {name: os.environ.pop(name) for name in names}
            self._inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                os.environ.update(self._kept)


_AWAY = _Away()


def connect(
    where: str = "",
    *,
    autocommit: bool = False,
    kind: type[psycopg.Connection[tuple[Any, ...]]] | None = None,
    **parameters: Any,
) -> psycopg.Connection[tuple[Any, ...]]:
    """Begin a session.

    Args:
        where: a URL, or libpq's own form.
        autocommit: each statement is a transaction.
        kind: of connection; libpq's own ways of waiting where none is given.
        parameters: further ones of libpq.

    Raises:
        psycopg.OperationalError: the server does not answer, or refuses.
    """
    import psycopg  # noqa: PLC0415 - heavy, and the CLI must start fast
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - heavy

    given = conninfo_to_dict(where, **parameters)
    usual: dict[str, Any] = {"connect_timeout": CONNECT_S, "passfile": _NO_FILE}
    with _AWAY:
        connection = kind or psycopg.Connection[tuple[Any, ...]]
        return connection.connect(autocommit=autocommit, **(usual | given))
