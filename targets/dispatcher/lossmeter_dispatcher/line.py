"""Those who wait for room: asked for together, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from lossmeter_dispatcher.queues.protocol import QueueFullError

Item = TypeVar("Item")


class _Waiting(Generic[Item]):
    """One who waits.

    Attributes:
        added: done when that is decided.
        asked: an answer is on its way.
        late: waits for that answer only.
    """

    def __init__(self, item: Item) -> None:
        self.item = item
        self.added: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked = self.late = False

    def leave(self) -> None:
        """Wait no longer than for an answer that is on its way already."""
        if self.asked:
            self.late = True
        elif not self.added.done():
            self.added.set_exception(QueueFullError())


class Line(Generic[Item]):
    """Asks for room again and again, for as many at once as may go in one call.

    One call for each of them would let a queue that was full once be filled no faster than
    calls are answered, as long as anybody waits.

    Args:
        add: is given at most ``most`` items in order of arrival; returns for each whether it
            was added, or what went wrong with it. Once it says no, it says so to the rest.
        most: items in one call.
        every_s: between calls while there is no room.
    """

    def __init__(
        self,
        add: Callable[[list[Item]], Awaitable[Sequence[bool | Exception]]],
        most: int,
        every_s: float,
    ) -> None:
        self._add = add
        self._most = most
        self._every_s = every_s
        self._waiting: deque[_Waiting[Item]] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._refusing = False

    def __bool__(self) -> bool:
        """Return whether anybody waits."""
        return bool(self._waiting)

    async def wait(self, item: Item, timeout_s: float) -> None:
        """Wait until an item is added.

        Raises:
            QueueFullError: it was not added in time, or is refused; nothing was added.
            Exception: what ``add`` returned for it.
        """
        if self._refusing or timeout_s <= 0:
            raise QueueFullError
        one = _Waiting(item)
        self._waiting.append(one)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        limit = asyncio.get_running_loop().call_later(timeout_s, one.leave)
        try:
            await one.added
        finally:
            limit.cancel()

    def refuse(self) -> None:
        """Let nobody ask again; who is being asked for goes by that answer."""
        self._refusing = True
        for one in self._waiting:
            one.leave()

    def close(self) -> None:
        """Ask no more."""
        self.refuse()
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        while batch := self._first():
            for one in batch:
                one.asked = True
            try:
                answers = await self._add([one.item for one in batch])
            except Exception as error:  # noqa: BLE001 - each of them gets it, and deals with it
                answers = [error] * len(batch)
            for one, answer in zip(batch, answers, strict=True):
                one.asked = False
                self._tell(one, answer)
            if answers[-1] is False:
                await asyncio.sleep(self._every_s)

    def _first(self) -> list[_Waiting[Item]]:
        """Return those whose turn it is, without those who have gone."""
        if any(one.added.done() for one in self._waiting):
            self._waiting = deque(one for one in self._waiting if not one.added.done())
        return [self._waiting[n] for n in range(min(self._most, len(self._waiting)))]

    def _tell(self, one: _Waiting[Item], answer: bool | Exception) -> None:
        if one.added.done():
            return
        if isinstance(answer, Exception):
            one.added.set_exception(answer)
        elif answer:
            one.added.set_result(None)
        elif one.late:
            one.added.set_exception(QueueFullError())
