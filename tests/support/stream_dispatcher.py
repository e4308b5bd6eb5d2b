"""A dispatcher on a Redis stream that takes what is new, and what others left after ``RECLAIM_S``.

Without that, what its predecessor had in hand stays there for ever.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis

CLIENT = redis.Redis.from_url(os.environ["REDIS"], decode_responses=True)
RECLAIM_S = float(os.environ.get("RECLAIM_S") or 0)
ME = f"worker-{os.getpid()}"
# Two, for one that was killed between two events would have had nothing in hand.
WORKERS, HANDLER_TIME_S = 2, 0.1


def new() -> list[tuple[str, dict[str, str]]]:
    found = CLIENT.xreadgroup("workers", ME, {"jobs": ">"}, count=5, block=50)
    return found[0][1] if found else []


def left() -> list[tuple[str, dict[str, str]]]:
    if not RECLAIM_S:
        return []
    claimed = CLIENT.xautoclaim("jobs", "workers", ME, int(RECLAIM_S * 1000), count=5)
    return list(claimed[1])


def work() -> None:
    with Path(os.environ["ROWS"]).open("a", encoding="utf-8") as rows:
        while True:
            for name, fields in [*left(), *new()]:
                time.sleep(HANDLER_TIME_S)
                rows.write(json.dumps({**json.loads(fields["job"]), "at": time.time()}) + "\n")
                rows.flush()
                CLIENT.xack("jobs", "workers", name)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        CLIENT.xadd("jobs", {"job": body.decode()})
        self._answer(202)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    with suppress(redis.ResponseError):  # It is there.
        CLIENT.xgroup_create("jobs", "workers", 0, mkstream=True)
    for _ in range(WORKERS):
        threading.Thread(target=work, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
