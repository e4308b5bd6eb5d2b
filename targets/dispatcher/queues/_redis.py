"""What the two Redis backends share: the connection, and waiting for room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from targets.dispatcher.config import QueueSettings
from targets.dispatcher.queues.protocol import QueueFullError, QueueUnsureError

ANSWER_S = 5.0
ROOM_POLL_S = 0.02
SPARE_CONNECTIONS = 32


def connect(settings: QueueSettings, workers: int) -> Redis:
    """Return a client that sends each command once: a retry could add an event twice."""
    host, _, port = settings.address.rpartition(":")
    pool = BlockingConnectionPool(
        host=host,
        port=int(port),
        username=settings.username or None,
        password=settings.password or None,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        # Each worker may hold one while it waits for an event.
        max_connections=workers + SPARE_CONNECTIONS,
        timeout=ANSWER_S,
        retry=None,
    )
    # So made, the client closes the pool with itself.
    return Redis.from_pool(pool)


async def open_client(client: Redis) -> None:
    """Ask the server for a sign of life.

    Raises:
        OSError: it is not there.
    """
    try:
        await client.ping()
    except RedisError as error:
        raise OSError(f"Redis does not answer: {error}") from None


async def put_when_room(
    add: Callable[[], Awaitable[object]], turn: asyncio.Lock, timeout_s: float
) -> None:
    """Try ``add`` until it returns something, or time is up.

    The server adds only when there is room, in one step, so a full queue provably took
    nothing. Of those that wait, one at a time asks the server, in the order of arrival.
    """
    if not turn.locked() and await _tried(add):
        return
    deadline = time.monotonic() + timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            await turn.acquire()
    except TimeoutError:
        raise QueueFullError from None
    try:
        while not await _tried(add):
            if time.monotonic() >= deadline:
                raise QueueFullError
            await asyncio.sleep(ROOM_POLL_S)
    finally:
        turn.release()


async def _tried(add: Callable[[], Awaitable[object]]) -> bool:
    try:
        return bool(await add())
    except (RedisConnectionError, RedisError, OSError) as error:
        raise QueueUnsureError(str(error)) from error
