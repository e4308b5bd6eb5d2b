"""A bounded queue in memory: fast, and gone with the process."""

from __future__ import annotations

import asyncio

from lossmeter_dispatcher.config import QueueSettings
from lossmeter_dispatcher.events import Accepted
from lossmeter_dispatcher.queues.protocol import Delivery, QueueFullError


class ChannelQueue:
    """An ``asyncio.Queue`` behind a semaphore; acknowledging means nothing to it.

    The queue's own bound would not do: who comes at the moment at which there is room takes
    it from the one that waited longest, and that one goes to the end of the line.
    """

    survives_process = False

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._queue: asyncio.Queue[Accepted] = asyncio.Queue()
        self._room = asyncio.Semaphore(capacity)
        self._waiting: set[asyncio.Task[object]] = set()
        self._refusing = False

    async def open(self) -> None:
        """Do nothing: memory is there."""

    async def put(self, item: Accepted, timeout_s: float) -> bool:
        """Add an event, waiting for room in the order of arrival."""
        # Locked while anybody waits, too.
        full = self._room.locked()
        if not full:
            await self._room.acquire()
        elif not timeout_s or self._refusing:
            raise QueueFullError
        else:
            await self._wait_for_room(timeout_s)
        self._queue.put_nowait(item)
        return full

    async def _wait_for_room(self, timeout_s: float) -> None:
        """Stand in line at once; who is cancelled while it waits has taken no room."""
        waiting = asyncio.current_task()
        if waiting is None:
            raise RuntimeError("a put needs a task to wait in")
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(timeout_s):
                await self._room.acquire()
        except TimeoutError:
            raise QueueFullError from None
        except asyncio.CancelledError:
            if not self._refusing:
                raise
            # It was not the task that was to end, but its wait.
            waiting.uncancel()
            raise QueueFullError from None
        finally:
            self._waiting.discard(waiting)

    def refuse_waiting(self) -> None:
        """Cancel the waits."""
        self._refusing = True
        for waiting in self._waiting:
            waiting.cancel()

    async def take(self) -> Delivery:
        """Take the oldest event."""
        item = await self._queue.get()
        self._room.release()
        return Delivery(item, None)

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
