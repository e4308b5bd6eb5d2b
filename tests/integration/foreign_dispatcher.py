"""Somebody else's dispatcher: other paths, other fields, other variables, other table.

Threads and a ``queue.Queue``; shares no line with the reference dispatcher. Started as
``python foreign_dispatcher.py`` with ``PORT``, ``DSN`` and ``THREADS`` in the environment.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

JOBS: queue.Queue[tuple[str, str]] = queue.Queue(maxsize=5000)
HANDS: set[int] = set()
BOOT = uuid.uuid4().hex


def work(number: int) -> None:
    with psycopg.connect(os.environ["DSN"], autocommit=True) as connection:
        while True:
            ident, body = JOBS.get()
            HANDS.add(number)
            time.sleep(0.02)
            connection.execute("insert into jobs (ident, body) values (%s, %s)", (ident, body))
            HANDS.discard(number)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        stats = {"boot": BOOT, "queue": {"size": JOBS.qsize(), "busy": len(HANDS)}}
        self._answer(200, stats if self.path == "/stats" else {})

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            JOBS.put_nowait((job["ident"], job["body"]))
        except queue.Full:
            self._answer(429, {})
        else:
            self._answer(201, {})

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
    with psycopg.connect(os.environ["DSN"], autocommit=True) as connection:
        connection.execute(
            "create table if not exists jobs (n bigserial, ident text, body text, "
            "at timestamptz default clock_timestamp())"
        )
    for number in range(int(os.environ["THREADS"])):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
