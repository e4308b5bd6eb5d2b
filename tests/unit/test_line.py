"""Those who wait for room, by a queue that says yes and no as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lossmeter_dispatcher.line import Line
from lossmeter_dispatcher.queues.protocol import QueueFullError


class Server:
    """Has room for so many; remembers what it was asked for together."""

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.calls: list[list[int]] = []
        self.added: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def add(self, items: list[int]) -> list[bool | Exception]:
        self.calls.append(items)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        count = min(self.room, len(items))
        self.room -= count
        self.added += items[:count]
        return [n < count for n in range(len(items))]


def _story(tell: Callable[[Server, Line[int]], Awaitable[None]], most: int = 100) -> None:
    async def story() -> None:
        server = Server()
        line = Line(server.add, most, 0.005)
        try:
            async with asyncio.timeout(10):
                await tell(server, line)
        finally:
            line.close()

    asyncio.run(story())


def _waiting(line: Line[int], count: int, timeout_s: float = 5) -> list[asyncio.Future[None]]:
    return [asyncio.ensure_future(line.wait(n, timeout_s)) for n in range(count)]


def test_room_for_many_is_filled_by_one_call_in_the_order_of_arrival() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        waiting = _waiting(line, 90)
        await asyncio.sleep(0.05)
        assert line
        before, server.room = len(server.calls), 90
        await asyncio.gather(*waiting)
        assert server.added == list(range(90))
        assert len(server.calls) <= before + 2
        await asyncio.sleep(0.02)
        assert not line

    _story(tell)


def test_a_call_holds_no_more_than_it_may() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        server.room = 7
        await asyncio.gather(*_waiting(line, 7))
        assert [len(call) for call in server.calls] == [3, 3, 1]

    _story(tell, most=3)


def test_some_room_goes_to_those_who_came_first() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        waiting = _waiting(line, 5, 0.2)
        server.room = 2
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert outcomes[:2] == [None, None]
        assert all(isinstance(outcome, QueueFullError) for outcome in outcomes[2:])
        assert server.added == [0, 1]

    _story(tell)


def test_nobody_gives_up_whose_answer_is_on_its_way() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        server.room, server.gate = 1, asyncio.Event()
        yes, no = _waiting(line, 2, 0.02)
        later = asyncio.ensure_future(line.wait(9, 0.02))
        await asyncio.sleep(0.1)
        assert not yes.done()
        assert not no.done()
        server.gate.set()
        assert await yes is None
        for late in (no, later):
            with pytest.raises(QueueFullError):
                await late
        assert server.added == [0]

    _story(tell)


def test_who_is_not_asked_for_leaves_in_time_though_the_server_hangs() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        server.gate = asyncio.Event()
        asked, behind = _waiting(line, 2, 0.05)
        with pytest.raises(QueueFullError):
            await behind
        assert not asked.done()
        server.gate.set()
        with pytest.raises(QueueFullError):
            await asked
        assert 1 not in [item for call in server.calls for item in call]

    _story(tell, most=1)


def test_refusing_spares_only_who_is_being_asked_for() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        server.room, server.gate = 1, asyncio.Event()
        asked, behind = _waiting(line, 2)
        await asyncio.sleep(0.02)
        line.refuse()
        for refused in (behind, asyncio.ensure_future(line.wait(3, 5))):
            with pytest.raises(QueueFullError):
                await refused
        server.gate.set()
        assert await asked is None

    _story(tell, most=1)


def test_what_goes_wrong_is_told_to_all_who_were_asked_for_together() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        server.error = OSError("away")
        outcomes = await asyncio.gather(*_waiting(line, 3), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["away"] * 3
        server.error, server.room = None, 1
        await line.wait(4, 1)

    _story(tell)


def test_without_time_nobody_waits() -> None:
    async def tell(server: Server, line: Line[int]) -> None:
        with pytest.raises(QueueFullError):
            await line.wait(1, 0)
        assert server.calls == []

    _story(tell)
