"""Many calls made at once become one: what the callers wait for is decided together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Coalescer(Generic[Item, Answer]):
    """Gathers items while earlier ones are on their way, and acts on them together.

    No item waits for company: the first goes at once, and those that come while it is on
    its way go next. So a batch is as large as the backlog, and alone an item is as fast as
    without.

    Args:
        act: is given at most ``most`` items in order of arrival, and returns one answer
            each; an answer that is an exception is raised at its caller. When ``act``
            itself raises, all callers get that.
        most: items in one call.
        at_once: calls under way at the same time.
    """

    def __init__(
        self,
        act: Callable[[list[Item]], Awaitable[Sequence[Answer | Exception]]],
        most: int,
        at_once: int = 1,
    ) -> None:
        self._act = act
        self._most = most
        self._free = at_once
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Answer:
        """Have the item acted on and return its answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._free:
            self._free -= 1
            task = asyncio.create_task(self._go_on())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _go_on(self) -> None:
        try:
            while self._waiting:
                count = min(self._most, len(self._waiting))
                await self._together([self._waiting.popleft() for _ in range(count)])
        finally:
            self._free += 1

    async def _together(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        # One whose caller has gone before anything was done with it has no effect.
        batch = [(item, future) for item, future in batch if not future.done()]
        try:
            answers = await self._act([item for item, _ in batch]) if batch else ()
        except Exception as error:  # noqa: BLE001 - each caller gets it, and deals with it
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
