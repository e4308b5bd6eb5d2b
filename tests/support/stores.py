"""What tests write into each kind of store, by clients of their own."""

from __future__ import annotations

import json
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from lossmeter.plan.target import Persisted
from lossmeter.world import http_client
from lossmeter.world.auditor import Auditor, auditor
from lossmeter.world.ports import free_port
from tests.support.servers import Server, kafka_login, keep_in_redis, redis_url

Record = Mapping[str, object]
"""``producer``, ``sequence`` and ``payload`` of an event as a dispatcher stores it."""

COLUMNS = ("producer", "sequence", "payload")


@dataclass
class Written(ABC):
    """One store that a test writes to.

    Attributes:
        folder: of the run.
        ordered: it keeps the order, and the same record more than once.
        dated: it tells when it got each record.
    """

    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    ordered = True
    dated = False
    may_be_absent = True

    @abstractmethod
    def table(self) -> dict[str, Any]:
        """Return what stands in a target file."""

    @abstractmethod
    def write(self, records: Sequence[Record]) -> None:
        """Write records, the oldest first."""

    def away(self) -> dict[str, Any]:
        """Return the table of one that cannot be reached."""
        return self.table()

    def auditor(self, **more: object) -> Auditor:
        """Return what reads it."""
        return self.opened(self.table() | more)

    def opened(self, table: dict[str, Any]) -> Auditor:
        values = {"run_folder": str(self.folder), "python": sys.executable} | self.names

        def interpolate(text: str) -> str:
            for name, value in values.items():
                text = text.replace(f"{{{name}}}", value)
            return text

        return auditor("t", Persisted(**table), interpolate)


class Postgres(Written):
    """A view in a schema of its own, over a table."""

    dated, may_be_absent = True, False
    URL = "postgres.url"

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder, {"postgres.url": server.url})
        with self._connect() as connection:
            connection.execute("drop schema if exists theirs cascade; create schema theirs")
            connection.execute(
                'create table theirs."Kept" (n bigserial, producer text, sequence text, '
                "payload text, at timestamptz default clock_timestamp())"
            )
            connection.execute(
                "create view theirs.kept as select producer, sequence, n as position, "
                "('x' || left(md5(payload), 16))::bit(64)::bigint as payload_hash, "
                'at as persisted_at from theirs."Kept" order by n'
            )

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.names["postgres.url"], autocommit=True)

    def table(self) -> dict[str, Any]:
        return {"kind": "postgres", "query": "select * from theirs.kept"}

    def away(self) -> dict[str, Any]:
        url = f"postgresql://x@127.0.0.1:{free_port()}/x"
        return self.table() | {"database": url}

    def write(self, records: Sequence[Record]) -> None:
        insert = 'insert into theirs."Kept" (producer, sequence, payload) values (%s, %s, %s)'
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.executemany(insert, [[_text(r.get(c)) for c in COLUMNS] for r in records])


class Sqlite(Written):
    dated, may_be_absent = True, False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with sqlite3.connect(folder / "kept.db") as connection:
            connection.execute(
                "create table kept (n integer primary key, producer, sequence, payload, "
                "at default (strftime('%Y-%m-%d %H:%M:%f', 'now')))"
            )
        connection.close()

    def table(self) -> dict[str, Any]:
        columns = "producer, sequence, payload, n as position, at as persisted_at"
        return {
            "kind": "sqlite",
            "file": "kept.db",
            "query": f"select {columns} from kept order by n;",
        }

    def away(self) -> dict[str, Any]:
        return self.table() | {"file": "elsewhere.db"}

    def write(self, records: Sequence[Record]) -> None:
        # SQLite's integers have 64 bits.
        rows = [
            [str(v) if isinstance(v := r.get(c), int) and abs(v) >= 2**63 else v for c in COLUMNS]
            for r in records
        ]
        with sqlite3.connect(self.folder / "kept.db") as connection:
            connection.executemany(
                "insert into kept (producer, sequence, payload) values (?, ?, ?)", rows
            )
        connection.close()


class Jsonl(Written):
    def table(self) -> dict[str, Any]:
        return {"kind": "jsonl", "file": "kept.jsonl", "payload": "payload"}

    def away(self) -> dict[str, Any]:
        (self.folder / "folder.jsonl").mkdir(exist_ok=True)
        return self.table() | {"file": "folder.jsonl"}

    def write(self, records: Sequence[Record]) -> None:
        with (self.folder / "kept.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n\n" for record in records)


class Command(Written):
    may_be_absent = False

    def table(self) -> dict[str, Any]:
        program = self.folder / "prints.py"
        program.write_text("import sys; sys.stdout.write(open('printed').read())")
        (self.folder / "printed").touch()
        return {
            "kind": "command",
            "command": ["{python}", "prints.py"],
            "payload": "payload",
            "folder": str(self.folder),
        }

    def away(self) -> dict[str, Any]:
        return self.table() | {"command": ["{python}", "-c", "raise SystemExit('no such table')"]}

    def write(self, records: Sequence[Record]) -> None:
        with (self.folder / "printed").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)


class Redis(Written):
    """A key of one type."""

    def __init__(self, folder: Path, server: Server, kind: str) -> None:
        super().__init__(folder, {"redis.url": redis_url(server)})
        self.kind = kind
        self.ordered, self.dated = kind in {"list", "stream"}, kind == "stream"
        self.client = redis.Redis.from_url(redis_url(server))
        self.client.flushdb()

    def table(self) -> dict[str, Any]:
        field = {"field": "event"} if self.kind == "stream" else {}
        return {"kind": "redis", "key": "kept", "type": self.kind, "payload": "payload", **field}

    def away(self) -> dict[str, Any]:
        return self.table() | {"url": f"redis://127.0.0.1:{free_port()}/0"}

    def write(self, records: Sequence[Record]) -> None:
        pipeline = self.client.pipeline()
        for record in records:
            text = json.dumps(record)
            if self.kind == "list":
                pipeline.rpush("kept", text)
            elif self.kind == "stream":
                pipeline.xadd("kept", {"event": text})
            elif self.kind == "set":
                pipeline.sadd("kept", text)
            else:
                pipeline.hset("kept", f"job:{record.get('producer')}:{record['sequence']}", text)
        pipeline.execute()
        keep_in_redis(self.client)


class Kafka(Written):
    """A topic of one partition whose messages bear the broker's time."""

    dated = True

    def __init__(self, folder: Path, server: Server, topic: str) -> None:
        super().__init__(folder, {"kafka.address": server.address})
        self.login, self.topic = kafka_login(server), topic

    def create(self, partitions: int = 1, stamp: str = "LogAppendTime") -> None:
        new = NewTopic(self.topic, partitions, 1, config={"message.timestamp.type": stamp})
        admin = AdminClient(self.login)
        admin.create_topics([new])[self.topic].result(20)

    def table(self) -> dict[str, Any]:
        settings = {name: v for name, v in self.login.items() if name != "bootstrap.servers"}
        return {"kind": "kafka", "topic": self.topic, "payload": "payload", "settings": settings}

    def away(self) -> dict[str, Any]:
        return self.table() | {"address": f"127.0.0.1:{free_port()}"}

    def write(self, records: Sequence[Record]) -> None:
        producer = Producer(self.login)
        for record in records:
            producer.produce(self.topic, json.dumps(record))
        assert producer.flush(20) == 0


class Webhook(Written):
    """A receiver that is called."""

    dated, may_be_absent = True, False

    def __init__(self, folder: Path, server: Server) -> None:
        control = f"http://{server.address}/control"
        names = {"webhook.control": control, "webhook.password": server.password}
        super().__init__(folder, names)
        self.url = server.url
        self.command("clear")

    def command(self, what: str, **how: object) -> None:
        headers = {"Authorization": f"Bearer {self.names['webhook.password']}"}
        url, body = f"{self.names['webhook.control']}/{what}", json.dumps(how).encode()
        answer = http_client.ask(url, method="POST", body=body, headers=headers)
        assert answer is not None
        assert answer.ok

    def table(self) -> dict[str, Any]:
        return {"kind": "webhook", "payload": "payload"}

    def away(self) -> dict[str, Any]:
        self.names["webhook.control"] = f"http://127.0.0.1:{free_port()}/control"
        return self.table()

    def write(self, records: Sequence[Record]) -> None:
        with closing(http_client.connection(self.url, 5)) as over:
            for record in records:
                path, body = urlsplit(self.url).path, json.dumps(record).encode()
                assert http_client.exchange(over, "POST", path, body).ok


class Mysql(Written):
    """A view over a table of MariaDB."""

    dated, may_be_absent = True, False

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder, {"mariadb.url": server.url})
        self.do("drop table if exists kept")
        self.do(
            "create table kept (n bigint auto_increment primary key, producer text, "
            "sequence text, payload text, at timestamp(6) default current_timestamp(6))"
        )
        self.do(
            "create or replace view seen as select producer, sequence, n as position, payload, "
            "conv(left(md5(payload), 16), 16, 10) as payload_hash, at as persisted_at from kept"
        )

    def do(self, statement: str, rows: Sequence[Sequence[object]] = ()) -> None:
        parts = urlsplit(self.names["mariadb.url"])
        with (
            closing(
                pymysql.connect(
                    host=parts.hostname,
                    port=parts.port or 0,
                    user=parts.username,
                    password=parts.password or "",
                    database="events",
                    autocommit=True,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            if rows:
                cursor.executemany(statement, rows)
            else:
                cursor.execute(statement)

    def table(self) -> dict[str, Any]:
        return {"kind": "mysql", "query": "select * from `events`.seen order by position; -- all"}

    def away(self) -> dict[str, Any]:
        return self.table() | {"url": f"mysql://x:y@127.0.0.1:{free_port()}/x"}

    def write(self, records: Sequence[Record]) -> None:
        rows = [[_text(record.get(column)) for column in COLUMNS] for record in records]
        self.do("insert into kept (producer, sequence, payload) values (%s, %s, %s)", rows)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
