"""A dispatcher whose answers about its state are odd in one way, named by ``STATE``."""

from __future__ import annotations

import gzip
import json
import os
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

JOBS: queue.Queue[tuple[str, str]] = queue.Queue()
# Its clock may be wrong, and its column and its session in another time zone.
COLUMN = os.environ.get("COLUMN", "timestamptz")
NOW = f"clock_timestamp() - interval '{os.environ.get('BEHIND', '0 s')}'"


def work() -> None:
    insert = f"insert into jobs (ident, body, at) values (%s, %s, {NOW})"
    with psycopg.connect(os.environ["DSN"], autocommit=True) as connection:
        while True:
            connection.execute(insert, JOBS.get())


def state(kind: str) -> tuple[int, bytes, dict[str, str]]:
    length = JOBS.qsize()
    right = json.dumps({"queue_length": length, "in_flight": 0}).encode()
    odd: dict[str, tuple[int, bytes, dict[str, str]]] = {
        "text": (200, json.dumps({"queue_length": str(length)}).encode(), {}),
        "null": (200, b'{"queue_length": null}', {}),
        "list": (200, json.dumps([{"queue_length": length}]).encode(), {}),
        "bool": (200, b'{"queue_length": true}', {}),
        "negative": (200, b'{"queue_length": -1}', {}),
        "huge": (200, b'{"queue_length": 1e30}', {}),
        "other": (200, json.dumps({"length": length}).encode(), {}),
        "in-flight": (200, b'{"queue_length": 0, "in_flight": "0"}', {}),
        "latin": (200, b'{"queue_length": 0, "name": "J\xfcrgen"}', {}),
        "deep": (200, b"[" * 200_000, {}),
        "gzip": (200, gzip.compress(right), {"Content-Encoding": "gzip"}),
        "redirect": (307, b"", {"Location": "/state/"}),
        "nothing": (204, b"", {}),
    }
    return odd.get(kind, (200, right, {}))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(*(state(os.environ["STATE"]) if self.path == "/state" else (200, b"{}", {})))

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        JOBS.put((job["ident"], job["body"]))
        self._answer(int(os.environ.get("STATUS", "202")), b"{}", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    sys.stdout.write(f"variables: {' '.join(sorted(os.environ))}\n")
    sys.stdout.flush()
    with psycopg.connect(os.environ["DSN"], autocommit=True) as created:
        created.execute(
            f"create table if not exists jobs (n bigserial, ident text, body text, at {COLUMN})"
        )
    threading.Thread(target=work, daemon=True).start()
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
