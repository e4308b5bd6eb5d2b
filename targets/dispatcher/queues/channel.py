"""A bounded queue in memory: fast, and gone with the process."""

from __future__ import annotations

import asyncio

from targets.dispatcher.config import QueueSettings
from targets.dispatcher.events import Accepted
from targets.dispatcher.queues.protocol import Delivery, QueueFullError


class ChannelQueue:
    """An ``asyncio.Queue``; acknowledging means nothing to it."""

    survives_process = False

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._queue: asyncio.Queue[Accepted] = asyncio.Queue(capacity)
        self._waiting = 0

    async def open(self) -> None:
        """Do nothing: memory is there."""

    async def put(self, item: Accepted, timeout_s: float) -> None:
        """Add an event, waiting for room in the order of arrival."""
        if not self._queue.full() and not self._waiting:
            self._queue.put_nowait(item)
            return
        if not timeout_s:
            raise QueueFullError
        self._waiting += 1
        try:
            # A put that is cancelled while it waits has added nothing.
            async with asyncio.timeout(timeout_s):
                await self._queue.put(item)
        except TimeoutError:
            raise QueueFullError from None
        finally:
            self._waiting -= 1

    async def take(self) -> Delivery:
        """Take the oldest event."""
        return Delivery(await self._queue.get(), None)

    async def ack(self, delivery: Delivery) -> None:
        """Do nothing: what was taken is gone."""

    async def length(self) -> int | None:
        """Return how many events wait."""
        return self._queue.qsize()

    async def close(self) -> None:
        """Do nothing; what waits dies with the process."""


def build(settings: QueueSettings, workers: int) -> ChannelQueue:
    """Return a channel of the given capacity."""
    del workers
    return ChannelQueue(settings.bound)
