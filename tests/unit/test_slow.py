"""The slow part of a handler: kept answers, and work that is done aside."""

from __future__ import annotations

import asyncio

import pytest

from lossmeter_dispatcher.config import Handler
from lossmeter_dispatcher.slow import SlowWork


class Database:
    """Counts queries; those told to do so fail."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    async def query(self, seconds: float) -> None:
        self.asked += 1
        await asyncio.sleep(seconds)
        if self.fails:
            raise OSError("away")


def _slow(database: Database, **settings: float) -> SlowWork:
    return SlowWork(Handler.model_validate(settings), database.query, (OSError,))


def test_without_a_cache_each_event_asks() -> None:
    database = Database()

    async def three() -> None:
        slow = _slow(database, query_s=0.01)
        await asyncio.gather(*(slow.do("a") for _ in range(3)))

    asyncio.run(three())
    assert database.asked == 3


def test_an_answer_is_kept_by_its_key_and_asked_for_once() -> None:
    database = Database()

    async def events() -> None:
        slow = _slow(database, query_s=0.01, cache_s=60)
        await asyncio.gather(*(slow.do(key) for key in "aaabb"))
        await slow.do("a")

    asyncio.run(events())
    assert database.asked == 2


def test_an_answer_is_asked_for_again_when_it_is_old() -> None:
    database = Database()

    async def events() -> None:
        slow = _slow(database, query_s=0.001, cache_s=0.05)
        await slow.do("a")
        await asyncio.sleep(0.1)
        await slow.do("a")

    asyncio.run(events())
    assert database.asked == 2


def test_a_query_that_failed_is_not_kept() -> None:
    database = Database()

    async def events() -> None:
        slow = _slow(database, query_s=0.001, cache_s=60)
        database.fails = True
        failed = await asyncio.gather(*(slow.do("a") for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in failed] == [OSError, OSError]
        database.fails = False
        await slow.do("a")

    asyncio.run(events())
    assert database.asked == 2


def test_a_waiter_that_is_cancelled_does_not_take_the_answer_away() -> None:
    database = Database()

    async def events() -> None:
        slow = _slow(database, query_s=0.05, cache_s=60)
        first, second = (asyncio.ensure_future(slow.do("a")) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        await second

    asyncio.run(events())
    assert database.asked == 1


def test_the_oldest_answer_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossmeter_dispatcher.slow.MOST_KEPT", 2)
    database = Database()

    async def events() -> None:
        slow = _slow(database, query_s=0.001, cache_s=60)
        for key in "abca":
            await slow.do(key)

    asyncio.run(events())
    assert database.asked == 4


def test_work_aside_is_bounded_and_its_failure_costs_no_event() -> None:
    database = Database()
    database.fails = True

    async def events() -> None:
        slow = _slow(database, query_s=0.05, aside=2)
        assert slow.is_aside
        await slow.begin("a")
        await slow.begin("b")
        assert slow.under_way == 2
        third = asyncio.ensure_future(slow.begin("c"))
        await asyncio.sleep(0.01)
        assert not third.done(), "there is no room for a third"
        await third
        await asyncio.sleep(0.1)
        assert slow.under_way == 0

    asyncio.run(events())
    assert database.asked == 3


def test_what_is_not_slow_is_not_done_aside() -> None:
    async def ask() -> bool:
        return _slow(Database(), aside=5).is_aside

    assert asyncio.run(ask()) is False
