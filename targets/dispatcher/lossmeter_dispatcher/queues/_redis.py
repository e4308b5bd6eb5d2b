"""What the Redis backends share: the connection, and waiting for room."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from lossmeter_dispatcher.coalesce import Coalescer
from lossmeter_dispatcher.config import QueueSettings
from lossmeter_dispatcher.events import Accepted
from lossmeter_dispatcher.line import Line
from lossmeter_dispatcher.queues.protocol import QueueUnsureError

ANSWER_S = 5.0
ROOM_POLL_S = 0.02
AGAIN_S = 0.1
SPARE_CONNECTIONS = 32

# Commands of this many events keep the server busy for a few milliseconds at most.
TOGETHER = 500


def _connect(settings: QueueSettings, workers: int) -> Redis:
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


class RedisQueue:
    """The half of a Redis backend towards the producers: a key, bounded on the server.

    Args:
        settings: where the server is.
        workers: how many may wait for an event at once.
        add: Lua that adds ARGV[2] and following to KEYS[1] until ARGV[1] events wait, and
            returns how many it added; one step on the server, so a full queue provably
            took nothing.
    """

    survives_process = True

    def __init__(self, settings: QueueSettings, workers: int, add: str) -> None:
        self.capacity = settings.bound
        self._key = settings.name
        self._client = _connect(settings, workers)
        self._add = self._client.register_script(add)
        # Pushes that come at once go in one command; each has its own answer.
        self._added = Coalescer(self._add_many, TOGETHER)
        self._line = Line(self._add_many, TOGETHER, ROOM_POLL_S)

    async def open(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            OSError: it is not there.
        """
        try:
            await self._client.ping()
        except RedisError as error:
            raise OSError(f"Redis does not answer: {error}") from None

    async def put(self, item: Accepted, timeout_s: float) -> bool:
        """Add an event, waiting for room in the order of arrival."""
        data = item.to_bytes()
        if not self._line and await self._added(data):
            return False
        await self._line.wait(data, timeout_s)
        return True

    def refuse_waiting(self) -> None:
        """Let no one ask again; who is being answered now goes by that answer."""
        self._line.refuse()

    async def close(self) -> None:
        """Disconnect."""
        self._line.close()
        await self._client.aclose()

    async def _add_many(self, data: list[bytes]) -> list[bool | Exception]:
        try:
            added = int(await self._add(keys=[self._key], args=[self.capacity, *data]))
        except (RedisError, OSError) as error:
            return [QueueUnsureError(str(error)) for _ in data]
        return [number < added for number in range(len(data))]
