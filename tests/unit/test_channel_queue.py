"""The queue in memory: who waits for room gets it in the order of arrival."""

from __future__ import annotations

import asyncio

import pytest

from lossmeter_dispatcher.events import Accepted, Event
from lossmeter_dispatcher.queues.channel import ChannelQueue
from lossmeter_dispatcher.queues.protocol import QueueFullError


def _item(sequence: int) -> Accepted:
    return Accepted(Event(producer=0, sequence=sequence), 0.0)


async def _taken(queue: ChannelQueue) -> int:
    return (await queue.take()).item.event.sequence


def test_who_comes_when_there_is_room_again_does_not_overtake_those_who_wait() -> None:
    async def run() -> list[int]:
        queue = ChannelQueue(1)
        await queue.put(_item(0), 0)
        waiting = [asyncio.ensure_future(queue.put(_item(n), 5)) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        # Runs when there is room, and before the one that waits longest is told so.
        waiting.append(asyncio.ensure_future(queue.put(_item(4), 5)))
        order = [await _taken(queue)]
        with pytest.raises(QueueFullError):
            await queue.put(_item(5), 0)
        order += [await _taken(queue) for _ in range(4)]
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(run()) == [0, 1, 2, 3, 4]


def test_who_waited_in_vain_has_added_nothing_and_taken_no_room() -> None:
    async def run() -> None:
        queue = ChannelQueue(1)
        await queue.put(_item(0), 0)
        with pytest.raises(QueueFullError):
            await queue.put(_item(1), 0.01)
        cancelled = asyncio.ensure_future(queue.put(_item(2), 5))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await _taken(queue) == 0
        await asyncio.sleep(0)
        assert await queue.length() == 0
        await queue.put(_item(3), 0)
        with pytest.raises(QueueFullError):
            await queue.put(_item(4), 0)
        assert await _taken(queue) == 3

    asyncio.run(run())


def test_room_given_to_one_that_is_cancelled_goes_to_the_next() -> None:
    async def run() -> None:
        queue = ChannelQueue(1)
        await queue.put(_item(0), 0)
        first, second = (asyncio.ensure_future(queue.put(_item(n), 5)) for n in (1, 2))
        await asyncio.sleep(0)
        assert await _taken(queue) == 0
        first.cancel()
        await second
        assert await _taken(queue) == 2
        assert await queue.length() == 0

    asyncio.run(run())


def test_it_holds_as_many_as_it_has_room_for() -> None:
    async def run() -> None:
        queue = ChannelQueue(3)
        for n in range(3):
            await queue.put(_item(n), 0)
        with pytest.raises(QueueFullError):
            await queue.put(_item(3), 0)
        assert await queue.length() == 3
        assert [await _taken(queue) for _ in range(3)] == [0, 1, 2]

    asyncio.run(run())
