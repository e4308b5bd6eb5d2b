"""Asks a server through the load's connections and waits for what it is told."""

from __future__ import annotations

import select
import time
from pathlib import Path
from typing import Self

from lossmeter.load.addresses import Addresses
from lossmeter.load.connection import Connections
from lossmeter.load.tls import client_context

REQUEST = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class Asking:
    """Connections to some ports of this machine, and every outcome they told, in order."""

    def __init__(
        self,
        *ports: int,
        timeout_s: float = 2.0,
        listed: Path | None = None,
        certificates: str = "",
        server_name: str = "",
    ) -> None:
        if listed is not None:
            listed.write_text("".join(f"127.0.0.1:{port}\n" for port in ports))
        addresses = Addresses(("127.0.0.1", ports[0]), listed)
        self.outcomes: list[tuple[int, int]] = []
        self.times_ns: list[int] = []
        self.connections = Connections[int](
            addresses,
            timeout_s,
            self._described,
            client_context(certificates) if certificates else None,
            server_name,
        )
        self._asked = 0

    def _described(self, token: int, code: int, at_ns: int) -> None:
        self.outcomes.append((token, code))
        self.times_ns.append(at_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connections.close()

    def ask(self, request: bytes = REQUEST) -> int:
        """Send one request, wait for its outcome and return it."""
        token = self.send(request)
        self.wait(len(self.outcomes) + self.connections.in_flight)
        return dict(self.outcomes)[token]

    def send(self, request: bytes = REQUEST) -> int:
        self._asked += 1
        self.connections.send(self._asked, request, time.monotonic_ns())
        return self._asked

    def wait(self, outcomes: int, within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while len(self.outcomes) < outcomes:
            assert time.monotonic() < deadline, f"no outcome: {self.outcomes}"
            select.select([self.connections.fileno()], [], [], 0.01)
            self.connections.poll()

    def idle(self, seconds: float) -> None:
        """Let time go by, looking at the connections as the load does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            select.select([self.connections.fileno()], [], [], 0.005)
            self.connections.poll()
