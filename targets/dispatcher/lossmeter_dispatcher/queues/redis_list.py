"""A plain Redis list: what waits is in Redis, what a worker holds dies with the process."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import RedisError

from lossmeter_dispatcher.config import QueueSettings
from lossmeter_dispatcher.events import Accepted
from lossmeter_dispatcher.queues._redis import AGAIN_S, ANSWER_S, RedisQueue
from lossmeter_dispatcher.queues.protocol import Delivery

# Adding and the check for room are one step on the server.
_ADD = """
local room = math.max(0, tonumber(ARGV[1]) - redis.call('llen', KEYS[1]))
local added = math.min(room, #ARGV - 1)
for i = 1, added do redis.call('lpush', KEYS[1], ARGV[i + 1]) end
return added
"""
_POP_S = ANSWER_S / 5


class RedisListQueue(RedisQueue):
    """LPUSH at one end, BRPOP at the other; a worker pops only what it can hold."""

    async def take(self) -> Delivery:
        """Pop the oldest event."""
        while True:
            try:
                popped: Any = await self._client.brpop([self._key], timeout=_POP_S)
            except (RedisError, OSError):
                # The server is away; what is in it waits there.
                await asyncio.sleep(AGAIN_S)
                continue
            if popped is not None:
                return Delivery(Accepted.from_bytes(popped[1]), None)

    async def ack(self, delivery: Delivery) -> None:
        """Do nothing: popped is gone."""

    async def length(self) -> int | None:
        """Return how many events wait in Redis; None while it is away."""
        try:
            return int(await self._client.llen(self._key))
        except (RedisError, OSError):
            return None


def build(settings: QueueSettings, workers: int) -> RedisListQueue:
    """Return a queue on one list."""
    return RedisListQueue(settings, workers, _ADD)
