from __future__ import annotations

import asyncio

import pytest

from lossmeter_dispatcher.coalesce import Coalescer


class Server:
    """Doubles what it is asked, when it is let; remembers what came together."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = asyncio.Event()

    async def double(self, items: list[int]) -> list[int | Exception]:
        self.calls.append(items)
        await self.gate.wait()
        if 13 in items:
            raise OSError("away")
        return [ValueError(item) if item < 0 else 2 * item for item in items]


async def _ask(server: Server, items: list[int], most: int = 3) -> list[int | BaseException]:
    coalescer: Coalescer[int, int] = Coalescer(server.double, most)
    asking = [asyncio.ensure_future(coalescer(item)) for item in items]
    await asyncio.sleep(0.01)
    server.gate.set()
    return await asyncio.gather(*asking, return_exceptions=True)


def test_what_comes_meanwhile_goes_together_and_in_order() -> None:
    async def story() -> None:
        server = Server()
        coalescer: Coalescer[int, int] = Coalescer(server.double, 3)
        first = asyncio.ensure_future(coalescer(1))
        await asyncio.sleep(0.01)
        rest = [asyncio.ensure_future(coalescer(item)) for item in range(2, 7)]
        await asyncio.sleep(0.01)
        server.gate.set()
        assert await asyncio.gather(first, *rest) == [2, 4, 6, 8, 10, 12]
        assert server.calls == [[1], [2, 3, 4], [5, 6]]

    asyncio.run(story())


def test_each_caller_gets_its_own_answer() -> None:
    async def story() -> None:
        good, bad, last = await _ask(Server(), [1, -1, 3])
        assert (good, last) == (2, 6)
        assert isinstance(bad, ValueError)

    asyncio.run(story())


def test_a_failure_of_all_reaches_all_and_the_next_go_on() -> None:
    async def story() -> None:
        answers = await _ask(Server(), [13, 1, 2, 5], most=3)
        assert [type(answer) for answer in answers] == [OSError, OSError, OSError, int]

    asyncio.run(story())


def test_one_that_gave_up_is_not_acted_on() -> None:
    async def story() -> None:
        server = Server()
        coalescer: Coalescer[int, int] = Coalescer(server.double, 3)
        first = asyncio.ensure_future(coalescer(1))
        await asyncio.sleep(0.01)
        gone, kept = (asyncio.ensure_future(coalescer(item)) for item in (2, 3))
        await asyncio.sleep(0.01)
        gone.cancel()
        server.gate.set()
        assert await asyncio.gather(first, kept) == [2, 6]
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert server.calls == [[1], [3]]

    asyncio.run(story())
