"""A dispatcher that runs already, in this process, and a short load on it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.odd_project import experiment

Answer = tuple[int, bytes, dict[str, str]]
RIGHT: Answer = (200, b'{"queue_length": 0, "in_flight": 0}', {})

TARGET = """
name = "attached"
summary = "somebody else's, which runs already"
ack_level = "enqueued"
[attach]
url = "http://127.0.0.1:{port}"
[http]
state = "/state"
accepted = [202]
"""


@dataclass
class Attached:
    """What it does; ``state`` is what it answers when it is asked for its state.

    Attributes:
        keep: persists one event, which the answer to its sender waits for.
        kept: how many it has persisted.
        hosts: what requests called it.
    """

    keep: Callable[[bytes], object]
    state: Answer = RIGHT
    port: int = 0
    kept: int = 0
    hosts: set[str] = field(default_factory=set)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> None:
        with self._one_at_a_time:
            self.keep(body)
            self.kept += 1


def _handler(attached: Attached) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(*(attached.state if self.path == "/state" else RIGHT))

        def do_POST(self) -> None:
            attached.take(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(202, b"", {})

        def parse_request(self) -> bool:
            parsed = super().parse_request()
            attached.hosts.add(self.headers["Host"] if parsed else "")
            return parsed

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return Handler


class _OnTheOtherLoopback(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def attached(keep: Callable[[bytes], object], host: str = "127.0.0.1") -> Iterator[Attached]:
    """Serve until the end of the ``with``."""
    found = Attached(keep)
    kind = _OnTheOtherLoopback if ":" in host else ThreadingHTTPServer
    with kind((host, 0), _handler(found)) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


def run_attached(folder: Path, port: int, persisted: str, seconds: float = 1.0) -> tuple[str, ...]:
    """Write target and experiment, and return the arguments that run one with the other.

    Args:
        persisted: the table of the target file.
        seconds: how long the load lasts, at 50 events a second.
    """
    text = experiment(lasts_s=seconds)
    (folder / "short.py").write_text(text, encoding="utf-8")
    target = TARGET.format(port=port) + persisted
    (folder / "attached.toml").write_text(target, encoding="utf-8")
    return (
        *("run", str(folder / "short.py"), "--target", str(folder / "attached.toml")),
        *("--runtime", "local", "--seed", "1"),
    )


def to_file(path: Path) -> Callable[[bytes], object]:
    """Return what keeps events in a file, one a line."""

    def keep(body: bytes) -> None:
        json.loads(body)
        with path.open("ab") as file:
            file.write(body + b"\n")

    return keep
