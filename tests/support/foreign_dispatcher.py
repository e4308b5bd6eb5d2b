"""Somebody else's dispatcher: other paths, other fields, other variables, other table.

Threads and a ``queue.Queue``; shares no line with the reference dispatcher. Started as
``python foreign_dispatcher.py`` with ``PORT``, ``DSN`` and ``THREADS`` in the environment.
``DSN`` is a URL whose scheme says what it stores events in. With ``LOSES`` it forgets every
tenth event of each producer, after it said yes: those whose number ends in 7. With ``TOKEN``
it wants that of every request, with ``CERTIFICATE`` it speaks TLS by that file.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import ssl
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

JOBS: queue.Queue[tuple[str, str]] = queue.Queue(maxsize=5000)
HANDS: set[int] = set()
BOOT = uuid.uuid4().hex


Store = Callable[[str, str], object]
CREATE = "create table if not exists jobs (n {key}, ident text, body text, at {time})"


def in_postgres(dsn: str) -> Store:
    import psycopg

    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute(
        CREATE.format(key="bigserial", time="timestamptz default clock_timestamp()").encode()
    )
    statement = "insert into jobs (ident, body) values (%s, %s)"
    return lambda ident, body: connection.execute(statement, (ident, body))


def in_mysql(dsn: str) -> Store:
    import pymysql

    parts = urlsplit(dsn)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.strip("/"),
        autocommit=True,
    )
    cursor = connection.cursor()
    now = "timestamp(6) default current_timestamp(6)"
    cursor.execute(CREATE.format(key="bigint auto_increment primary key", time=now))
    statement = "insert into jobs (ident, body) values (%s, %s)"
    return lambda ident, body: cursor.execute(statement, (ident, body))


def in_sqlite(dsn: str) -> Store:
    import sqlite3

    connection = sqlite3.connect(
        dsn.partition("://")[2], isolation_level=None, check_same_thread=False
    )
    now = "text default (strftime('%Y-%m-%d %H:%M:%f', 'now'))"
    connection.execute(CREATE.format(key="integer primary key", time=now))
    statement = "insert into jobs (ident, body) values (?, ?)"
    return lambda ident, body: connection.execute(statement, (ident, body))


def in_a_file(dsn: str) -> Store:
    path = Path(dsn.partition("://")[2])
    path.touch()

    def store(ident: str, body: str) -> None:
        line = json.dumps({"job": {"ident": ident, "body": body}, "at": time.time()})
        with path.open("a", buffering=1) as file:
            file.write(line + "\n")

    return store


def in_redis(dsn: str) -> Store:
    import redis

    client = redis.Redis.from_url(dsn)
    return lambda ident, body: client.xadd("jobs", {"ident": ident, "body": body})


def in_a_list(dsn: str) -> Store:
    import redis

    client = redis.Redis.from_url(dsn.partition("+")[2])
    return lambda ident, body: client.rpush("jobs", f"{ident} {body}")


def in_kafka(dsn: str) -> Store:
    """``kafka://USER:PASSWORD@ADDRESS``."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    login, _, address = dsn.partition("://")[2].rpartition("@")
    user, _, password = login.partition(":")
    settings = {
        "bootstrap.servers": address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }
    admin = AdminClient(settings)
    new = NewTopic("jobs", 1, 1, config={"message.timestamp.type": "LogAppendTime"})
    # The first of the threads makes it.
    admin.create_topics([new])["jobs"].exception(20)
    producer = Producer(settings)

    def store(ident: str, body: str) -> None:
        producer.produce("jobs", body, ident)
        producer.flush(20)

    return store


def in_a_webhook(url: str) -> Store:
    """Calls once, and forgets what was not taken."""

    def store(ident: str, body: str) -> None:
        call = urllib.request.Request(url, json.dumps({"ident": ident, "body": body}).encode())
        with suppress(OSError, http.client.HTTPException):
            urllib.request.urlopen(call, timeout=5).close()

    return store


STORES = {
    "postgresql": in_postgres,
    "sqlite": in_sqlite,
    "file": in_a_file,
    "redis": in_redis,
    "list+redis": in_a_list,
    "mysql": in_mysql,
    "http": in_a_webhook,
    "kafka": in_kafka,
}


def work(number: int) -> None:
    dsn, loses = os.environ["DSN"], os.environ.get("LOSES")
    store = STORES[dsn.partition(":")[0]](dsn)
    while True:
        ident, body = JOBS.get()
        HANDS.add(number)
        time.sleep(0.02)
        if not (loses and ident.endswith("7")):
            store(ident, body)
        HANDS.discard(number)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._keeps_out():
            return
        stats = {"boot": BOOT, "queue": {"size": JOBS.qsize(), "busy": len(HANDS)}}
        self._answer(200, stats if self.path.endswith("/stats") else {})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._keeps_out():
            return
        job = json.loads(body)
        try:
            JOBS.put_nowait((job["ident"], job["body"]))
        except queue.Full:
            self._answer(429, {})
        else:
            self._answer(201, {})

    def do_POST(self) -> None:
        self.do_PUT()

    def _keeps_out(self) -> bool:
        token = os.environ.get("TOKEN")
        if token and self.headers["Authorization"] != f"Bearer {token}":
            self._answer(401, {})
            return True
        return False

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def main() -> None:
    dsn = os.environ["DSN"]
    STORES[dsn.partition(":")[0]](dsn)
    for number in range(int(os.environ["THREADS"])):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
    if certificate := os.environ.get("CERTIFICATE"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake is the thread's that serves the connection, not of who accepts it.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.serve_forever()


if __name__ == "__main__":
    main()
