"""Takes events out of what ``foreign_dispatcher.py`` wrote: ``removing.py DSN < IDS``.

Each line of its input is ``PRODUCER SEQUENCE``. This is what the author of a target file writes
to have a known loss planted; it shares no line with lossmeter.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from urllib.parse import urlsplit


def from_mysql(dsn: str, idents: list[str]) -> None:
    import pymysql

    parts = urlsplit(dsn)
    with pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.strip("/"),
        autocommit=True,
    ) as connection:
        connection.cursor().executemany("delete from jobs where ident = %s", idents)


def from_sqlite(dsn: str, idents: list[str]) -> None:
    connection = sqlite3.connect(dsn.partition("://")[2], isolation_level=None, timeout=20)
    connection.executemany("delete from jobs where ident = ?", [(each,) for each in idents])
    connection.close()


def from_a_file(dsn: str, idents: list[str]) -> None:
    """Blank the lines where they stand: the dispatcher goes on appending meanwhile."""
    wanted = [f'"ident": "{each}"'.encode() for each in idents]
    with Path(dsn.partition("://")[2]).open("r+b") as file:
        while True:
            begin = file.tell()
            line = file.readline()
            if not line.endswith(b"\n"):
                return
            if any(each in line for each in wanted):
                file.seek(begin)
                file.write(b" " * (len(line) - 1))
                file.seek(begin + len(line))


def from_redis(dsn: str, idents: list[str]) -> None:
    import redis

    client = redis.Redis.from_url(dsn)
    for name, fields in client.xrange("jobs"):
        if fields[b"ident"].decode() in idents:
            client.xdel("jobs", name)


def from_a_list(dsn: str, idents: list[str]) -> None:
    import redis

    client = redis.Redis.from_url(dsn.partition("+")[2])
    for element in client.lrange("jobs", 0, -1):
        if element.partition(b" ")[0].decode() in idents:
            client.lrem("jobs", 0, element)


STORES = {
    "mysql": from_mysql,
    "sqlite": from_sqlite,
    "file": from_a_file,
    "redis": from_redis,
    "list+redis": from_a_list,
}


def main() -> None:
    dsn = sys.argv[1]
    idents = ["-".join(line.split()) for line in sys.stdin]
    STORES[dsn.partition(":")[0]](dsn, idents)


if __name__ == "__main__":
    main()
