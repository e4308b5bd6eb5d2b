"""What carries events to the target: by HTTP itself, or through an ingress program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lossmeter.load.addresses import Addresses
from lossmeter.load.connection import Connections
from lossmeter.load.plan import LoadPlan
from lossmeter.load.requests import Requests
from lossmeter.load.schedule import Due
from lossmeter.load.tls import client_context

Report = Callable[[Due, int, int], None]
"""Called with an event, its outcome (an HTTP status or a Reason), and monotonic nanoseconds."""


class Sender(Protocol):
    """Hands events over and reports what became of each, without ever waiting."""

    @property
    def in_flight(self) -> int:
        """Return how many events were handed over and have no outcome yet."""

    def message(self, due: Due) -> tuple[bytes, int]:
        """Return the bytes that carry an event, and the hash of its payload."""

    def send(self, due: Due, message: bytes, now_ns: int) -> None:
        """Hand one event over; ``now_ns`` is the monotonic clock's."""

    def poll(self) -> None:
        """Take in what has come since the last call."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``poll`` has something to do."""

    def close(self) -> None:
        """Let everything go; events in flight get no outcome."""


class HttpSender:
    """Sends each event as a request of its own."""

    def __init__(self, plan: LoadPlan, report: Report) -> None:
        in_service = Path(plan.in_service) if plan.in_service else None
        addresses = Addresses((plan.host, plan.port), in_service)
        head = plan.head
        tls = client_context(head.certificates) if head.certificates else None
        connections = Connections[Due](addresses, plan.timeout_s, report, tls, head.server_name)
        self._connections = connections
        self.message = Requests(plan).of
        self.send, self.poll = connections.send, connections.poll
        self.fileno, self.close = connections.fileno, connections.close

    @property
    def in_flight(self) -> int:
        """Return how many requests have no outcome yet."""
        return self._connections.in_flight
