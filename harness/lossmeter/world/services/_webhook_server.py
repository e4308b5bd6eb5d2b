"""Receives webhooks: records each call on the disk before it answers.

Run by its path with that of its configuration. It imports the standard library alone, since
it runs in a container too. Whoever knows the secret can read what came, and have it answer
late, refuse, or hang up.
"""

from __future__ import annotations

import hmac
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOOK, CONTROL = "/hook/", "/control/"
NORMAL: dict[str, Any] = {"answer": "", "delay_s": 0.0, "status": 503, "every": 1}
_LONGEST = 1 << 24


class Calls:
    """The calls that came, one JSON object a line; a line that a kill cut short is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        # Unbuffered, so that what is written is what is synced.
        self._file = path.open("ab+", buffering=0)
        self._file.seek(0)
        self.count = length = 0
        for line in self._file:
            if line.endswith(b"\n"):
                self.count, length = self.count + 1, length + len(line)
        self._file.truncate(length)

    def add(self, body: bytes) -> None:
        """Record a call; it is on the disk when this returns."""
        text = body.decode("utf-8", "surrogateescape")
        with self.lock:
            line = json.dumps({"at": time.time_ns(), "body": text}).encode() + b"\n"
            self._file.write(line)
            os.fdatasync(self._file.fileno())
            self.count += 1

    def clear(self) -> None:
        """Forget all calls."""
        with self.lock:
            self._file.truncate(0)
            self.count = 0


class Receiver(ThreadingHTTPServer):
    """The server."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, listen: tuple[str, int], secret: str, path: Path) -> None:
        self.secret = secret
        self.calls = Calls(path)
        self.boot = os.urandom(8).hex()
        self.behave(NORMAL)
        super().__init__(listen, Handler)

    def behave(self, how: dict[str, Any]) -> None:
        """Answer like this from now on, and count anew what was answered so."""
        self.how, self.met, self.struck = NORMAL | how, 0, 0

    def strikes(self) -> str:
        """Return how the call that has just come is to be answered; empty for as usual."""
        with self.calls.lock:
            self.met += 1
            if not self.how["answer"] or self.met % int(self.how["every"]):
                return ""
            self.struck += 1
            return str(self.how["answer"])

    def state(self) -> dict[str, Any]:
        """Return what it is asked for."""
        told = {"boot": self.boot, "version": sys.version.split()[0], "calls": self.calls.count}
        return {**told, "how": self.how, "struck": self.struck}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_GET(self) -> None:
        """Answer as a call is answered, without recording any; or a question of who commands."""
        if self._is_call():
            self._answer_call(b"", str(self.server.how["answer"]))
        elif not self._commands():
            self._answer(HTTPStatus.NOT_FOUND)
        elif self.path == f"{CONTROL}calls":
            self._send_calls()
        else:
            self._answer(HTTPStatus.OK, self.server.state())

    def do_POST(self) -> None:
        """Record a call, or obey a command."""
        body = self._body()
        if body is None:
            self.close_connection = True
            self._answer(HTTPStatus.BAD_REQUEST)
        elif self._is_call():
            self._answer_call(body, self.server.strikes())
        elif not self._commands():
            self._answer(HTTPStatus.NOT_FOUND)
        else:
            if self.path == f"{CONTROL}clear":
                self.server.calls.clear()
            self.server.behave(json.loads(body or b"{}"))
            self._answer(HTTPStatus.OK)

    do_PUT = do_PATCH = do_POST  # noqa: N815 - so the standard library calls them

    def _answer_call(self, body: bytes, how: str) -> None:
        if how == "away":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if how == "refuse":
            self._answer(HTTPStatus(self.server.how["status"]))
            return
        if self.command != "GET":
            self.server.calls.add(body)
        if how == "slow":
            time.sleep(float(self.server.how["delay_s"]))
        self._answer(HTTPStatus.OK)

    def _is_call(self) -> bool:
        secret = self.path.removeprefix(HOOK).partition("/")[0].partition("?")[0]
        return self.path.startswith(HOOK) and self._known(secret)

    def _commands(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.path.startswith(CONTROL) and self._known(given)

    def _known(self, secret: str) -> bool:
        return hmac.compare_digest(secret.encode(), self.server.secret.encode())

    def _body(self) -> bytes | None:
        """Return the body of a request; None where it is too long or no HTTP."""
        try:
            if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
                return self._chunks()
            length = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(length) if 0 <= length <= _LONGEST else None
        except ValueError:
            return None

    def _chunks(self) -> bytes | None:
        body = b""
        while size := int(self.rfile.readline(99).partition(b";")[0], 16):
            if not 0 < size <= _LONGEST - len(body):
                return None
            body += self.rfile.read(size)
            self.rfile.readline(99)
        while self.rfile.readline(9999).strip():
            continue
        return body

    def _send_calls(self) -> None:
        with self.server.calls.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._head(HTTPStatus.OK, size)
            shutil.copyfileobj(file, self.wfile)
        self.close_connection = True

    def _answer(self, status: HTTPStatus, body: dict[str, Any] | None = None) -> None:
        text = json.dumps(body or {}).encode()
        self._head(status, len(text), text)

    def _head(self, status: HTTPStatus, length: int, body: bytes = b"") -> None:
        # In one piece: a small second one would wait for the first to be acknowledged.
        kept = "close" if self.close_connection else "keep-alive"
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {length}\r\nConnection: {kept}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_: object) -> None:
        """Log nothing: what came stands in the file."""


def main() -> None:
    """Serve until SIGTERM."""
    asked = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listen = asked["host"], asked["port"]
    Receiver(listen, asked["secret"], Path(asked["calls"])).serve_forever()


if __name__ == "__main__":
    main()
