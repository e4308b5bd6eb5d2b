"""The slow part of a handler: a query, a call and some logic; and two remedies for it.

The answer of the query can be kept for a while, by the event's key. Or all of it is done
aside: after the insert and beside the workers, by so many at once as are allowed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lossmeter_dispatcher.config import Handler

LOG = logging.getLogger(__name__)

# Keys whose answers are kept; the oldest goes first.
MOST_KEPT = 10_000


@dataclass(slots=True)
class _Kept:
    """The answer of one query, or a query whose answer is awaited by all who need it."""

    answer: asyncio.Task[None]
    until: float = math.inf


class SlowWork:
    """What a handler does for one event besides its own short time and the insert.

    Args:
        handler: how long each part takes, and which remedy there is.
        query: runs a query that takes so many seconds.
        errors: what the query may raise when it fails.
    """

    def __init__(
        self,
        handler: Handler,
        query: Callable[[float], Awaitable[None]],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._query_s = handler.query_s
        self._rest_s = handler.external_s + handler.logic_s
        self._cache_s = handler.cache_s
        self._query = query
        self._errors = errors
        self._kept: dict[str, _Kept] = {}
        self._room = asyncio.Semaphore(handler.aside) if handler.aside else None
        self._aside: set[asyncio.Task[None]] = set()

    @property
    def is_aside(self) -> bool:
        """Return whether it is done after the insert instead of before it."""
        return self._room is not None and bool(self._query_s or self._rest_s)

    @property
    def under_way(self) -> int:
        """Return how many works are done aside now; they die with the process."""
        return len(self._aside)

    async def do(self, key: str) -> None:
        """Do it for an event of that key, and wait for its end.

        Raises:
            Exception: one of ``errors``, when the query failed.
        """
        if self._query_s:
            await self._answer(key)
        if self._rest_s:
            await asyncio.sleep(self._rest_s)

    async def begin(self, key: str) -> None:
        """Begin to do it aside; waits while too many are under way."""
        if self._room is None:
            raise RuntimeError("nothing is done aside without a setting that says how many")
        await self._room.acquire()
        task = asyncio.create_task(self._do_aside(key))
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _do_aside(self, key: str) -> None:
        try:
            await self.do(key)
        except self._errors as error:
            # The event itself is persisted; only what was to follow from it is missing.
            LOG.warning("slow work of key %s failed: %s", key, error)
        finally:
            if self._room is not None:
                self._room.release()

    async def _answer(self, key: str) -> None:
        if not self._cache_s:
            await self._query(self._query_s)
            return
        kept = self._kept.get(key)
        if kept is None or time.monotonic() >= kept.until:
            kept = self._kept[key] = _Kept(asyncio.create_task(self._ask(key)))
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        # Several wait for one answer; that one of them is cancelled must not take it away.
        await asyncio.shield(kept.answer)

    async def _ask(self, key: str) -> None:
        """Run the query, and keep its answer unless it failed."""
        mine = self._kept[key]
        try:
            await self._query(self._query_s)
        except self._errors:
            if self._kept.get(key) is mine:
                del self._kept[key]
            raise
        mine.until = time.monotonic() + self._cache_s
