"""What a queue backend must offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lossmeter_dispatcher.events import Accepted


class QueueFullError(Exception):
    """There was no room within the time; the event provably had no effect."""


class QueueUnsureError(Exception):
    """The backend did not say whether it took the event: it may be delivered or not."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event in a worker's hands.

    Attributes:
        item: the event.
        receipt: what the backend needs to acknowledge it.
        redelivered: it was in the hands of a process that died.
    """

    item: Accepted
    receipt: object
    redelivered: bool = False


class Queue(Protocol):
    """A bounded queue of events."""

    capacity: int

    survives_process: bool
    """What is queued outlives the process, so draining need not wait for it."""

    async def open(self) -> None:
        """Connect; may be called again after it failed.

        Raises:
            OSError: the backend is not there (yet).
        """

    async def put(self, item: Accepted, timeout_s: float) -> bool:
        """Add an event, waiting for room, and return whether it had to wait.

        Raises:
            QueueFullError: no room within ``timeout_s``; nothing was added.
            QueueUnsureError: the backend did not answer; the event may have been added.
        """

    def refuse_waiting(self) -> None:
        """End each wait for room, now and from now on, with ``QueueFullError``."""

    async def take(self) -> Delivery:
        """Wait for the next event and take it into a worker's hands."""

    async def ack(self, delivery: Delivery) -> None:
        """Tell that an event is dealt with and must not be delivered again."""

    async def length(self) -> int | None:
        """Return the events that wait, without those in hands; None while unknown."""

    async def close(self) -> None:
        """Disconnect; what is not acknowledged stays as it is."""
