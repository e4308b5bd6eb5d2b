"""A Redis stream with a consumer group: acknowledged after the insert.

What a process held when it died stays pending in the group. Started again under the same
consumer name, it first reads its own pending entries; those of other consumers that went
silent are claimed after a while.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.exceptions import RedisError, ResponseError

from lossmeter_dispatcher.coalesce import Coalescer
from lossmeter_dispatcher.config import QueueSettings
from lossmeter_dispatcher.events import Accepted
from lossmeter_dispatcher.queues._redis import AGAIN_S, ANSWER_S, TOGETHER, RedisQueue
from lossmeter_dispatcher.queues.protocol import Delivery

_GROUP = "workers"

# What is in hands is still in the stream, so it does not count against the capacity. A server
# that came back without its data has neither stream nor group any more.
_ADD = f"""
if redis.call('exists', KEYS[1]) == 0 then
    redis.call('xgroup', 'create', KEYS[1], '{_GROUP}', '0', 'mkstream')
end
local held = 0
local groups = redis.call('xinfo', 'groups', KEYS[1])
for i = 1, #groups[1], 2 do
    if groups[1][i] == 'pending' then held = groups[1][i + 1] end
end
local room = math.max(0, tonumber(ARGV[1]) - redis.call('xlen', KEYS[1]) + held)
local added = math.min(room, #ARGV - 1)
for i = 1, added do redis.call('xadd', KEYS[1], '*', 'e', ARGV[i + 1]) end
return added
"""
_Entry = tuple[bytes, dict[bytes, bytes]]

_BLOCK_MS = int(ANSWER_S * 1000 / 5)
_CLAIM_EVERY_S = 5.0
_CLAIM_IDLE_MS = 30_000


class RedisStreamQueue(RedisQueue):
    """XADD at one end, XREADGROUP at the other, XACK and XDEL after the insert."""

    def __init__(self, settings: QueueSettings, workers: int) -> None:
        super().__init__(settings, workers, _ADD)
        self._consumer = settings.instance_id or "dispatcher"
        self._inherited: list[Delivery] = []
        self._own: set[str] = set()
        self._taken = Coalescer(self._take_many, workers)
        self._acked = Coalescer(self._ack_many, TOGETHER)
        self._claim_at = time.monotonic() + _CLAIM_EVERY_S

    async def open(self) -> None:
        """Connect, make the group, and inherit what an earlier life held."""
        await super().open()
        try:
            await self._make_group()
            await self._inherit()
        except RedisError as error:
            raise OSError(f"Redis does not answer: {error}") from None

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self._key, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def take(self) -> Delivery:
        """Take what was inherited, then the oldest new entry.

        Workers that wait at the same time are served by one command, each with one entry;
        nothing is read ahead.
        """
        delivery: Delivery | None = None
        while delivery is None:
            delivery = await self._taken(None)
        self._own.add(str(delivery.receipt))
        return delivery

    async def _take_many(self, workers: list[None]) -> list[Delivery | None]:
        while True:
            try:
                deliveries = await self._next(len(workers))
            except (RedisError, OSError):
                await asyncio.sleep(AGAIN_S)
            else:
                break
        return deliveries + [None] * (len(workers) - len(deliveries))

    async def ack(self, delivery: Delivery) -> None:
        """Take the entry off the pending list and out of the stream."""
        await self._acked(str(delivery.receipt))

    async def _ack_many(self, idents: list[str]) -> list[None]:
        while True:
            try:
                async with self._client.pipeline(transaction=True) as pipe:
                    pipe.xack(self._key, _GROUP, *idents)
                    pipe.xdel(self._key, *idents)
                    await pipe.execute()
            except (RedisError, OSError):
                # Acknowledging twice does no harm; not at all would deliver it again.
                await asyncio.sleep(AGAIN_S)
            else:
                self._own.difference_update(idents)
                return [None] * len(idents)

    async def length(self) -> int | None:
        """Return the entries in the stream without those in own hands; None while away.

        Entries that nobody works on, since the answer that brought them was lost, count as
        waiting: they will be claimed.
        """
        try:
            in_stream = int(await self._client.xlen(self._key))
        except (RedisError, OSError):
            return None
        # A server that lost its data has less than what was taken from it.
        return max(0, in_stream - len(self._own))

    async def _inherit(self) -> None:
        """Read the entries that this consumer was given and never acknowledged."""
        entries = await self._group("0")
        self._inherited = [_delivery(entry, redelivered=True) for entry in entries if entry[1]]

    async def _next(self, most: int) -> list[Delivery]:
        if time.monotonic() >= self._claim_at:
            self._claim_at = time.monotonic() + _CLAIM_EVERY_S
            self._inherited += await self._claimed()
        if self._inherited:
            inherited, self._inherited = self._inherited[:most], self._inherited[most:]
            return inherited
        entries = await self._group(">", count=most, block=_BLOCK_MS)
        return [_delivery(entry) for entry in entries]

    async def _group(self, start: str, **options: int) -> list[_Entry]:
        """Read entries of this consumer: ``0`` for those it holds, ``>`` for new ones."""
        read: Any = self._client.xreadgroup
        answer = await read(_GROUP, self._consumer, {self._key: start}, **options)
        streams = answer.values() if isinstance(answer, dict) else (s[1] for s in answer or ())
        return [entry for entries in streams for entry in entries]

    async def _claimed(self) -> list[Delivery]:
        """Claim entries that have been held for too long, but for those in own hands."""
        answer: Any = await self._client.xautoclaim(
            self._key, _GROUP, self._consumer, min_idle_time=_CLAIM_IDLE_MS, count=100
        )
        claimed: list[_Entry] = answer[1]
        found = [_delivery(entry, redelivered=True) for entry in claimed if entry[1]]
        held = self._own | {str(delivery.receipt) for delivery in self._inherited}
        return [delivery for delivery in found if delivery.receipt not in held]


def _delivery(entry: _Entry, *, redelivered: bool = False) -> Delivery:
    ident, fields = entry
    return Delivery(Accepted.from_bytes(fields[b"e"]), ident.decode(), redelivered)


def build(settings: QueueSettings, workers: int) -> RedisStreamQueue:
    """Return a queue on one stream."""
    return RedisStreamQueue(settings, workers)
