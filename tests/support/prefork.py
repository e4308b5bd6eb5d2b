"""A dispatcher for servers that fork workers: ``app`` for uvicorn, ``wsgi`` for gunicorn.

An event is inserted before it is acked; ``DSN`` says where. Each worker names itself.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import cache
from typing import Any

import psycopg

Message = MutableMapping[str, Any]
# Workers start side by side.
TABLE = """
select pg_advisory_xact_lock(1);
create table if not exists job (
    n bigserial, ident text, body text, at timestamptz default clock_timestamp()
)
"""
INSERT = "insert into job (ident, body) values (%s, %s)"


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    status, answer = 200, {"boot": str(os.getpid())}
    if scope["method"] == "POST":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        job = json.loads(body)
        dsn = os.environ["DSN"]
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database:
            await database.execute(INSERT, (job["ident"], job["body"]))
        status = 202
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def wsgi(environ: Message, start_response: Callable[..., object]) -> Iterable[bytes]:
    _report_metrics()
    status = "200 OK"
    if environ["REQUEST_METHOD"] == "POST":
        job = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with psycopg.connect(os.environ["DSN"], autocommit=True) as database:
            database.execute(INSERT, (job["ident"], job["body"]))
        status = "202 Accepted"
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps({"boot": str(os.getpid())}).encode()]


@cache
def _report_metrics() -> None:
    """Start a thread of the worker's own, as what reports metrics does.

    Such a worker notices that its parent has gone and serves no more, but it does not end.
    """

    def report() -> None:
        while True:
            time.sleep(0.1)

    threading.Thread(target=report).start()


with psycopg.connect(os.environ["DSN"]) as session:
    session.execute(TABLE)
