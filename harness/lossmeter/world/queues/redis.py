"""Redis: lists, streams, sets and hashes; of a stream's group, what is not acked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field

from lossmeter.errors import UsageError
from lossmeter.plan.kinds import Interpolate
from lossmeter.plan.kinds import Options as Common
from lossmeter.record.arrays import Records
from lossmeter.world import beginnings
from lossmeter.world.queues._ids import Ids, entries

if TYPE_CHECKING:
    import redis

NEEDS = ("redis",)

_WITHIN_S = 1.0
_PAGE = 1000

Value = TypeVar("Value")
Held = tuple[tuple[int, int], bool, float | None]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return pattern


class Pending(Ids):
    """Where the events lie that are not done; ``keys`` by default those of the queue.

    To these belong the keys that hold what somebody took: a list ``doing``, the hash and the
    sorted set of what is not acked. Of a stream's group that is what XPENDING shows.

    Attributes:
        job_key: where the keys hold names of jobs only: the key of a job's hash, with ``*`` for
            the name, e.g. ``rq:job:*``. One that is not there any more is held by nobody.
        job_name: a regular expression for the name at the beginning of an entry.
        field: of the hash, which holds the message.
    """

    keys: tuple[str, ...] = ()
    job_key: Annotated[str, Field(pattern=r"^[^*]*\*[^*]*$")] | None = None
    job_name: Annotated[str, AfterValidator(_compiles)] = ".+"
    field: Annotated[str, Field(min_length=1)] = "data"


class Options(Common):
    """Which keys are counted.

    Attributes:
        url: of the server, around every proxy.
        keys: each counted by its type: LLEN, XLEN, ZCARD, SCARD or HLEN; one that does not
            exist is empty.
        group: of streams: what was delivered to it and not acknowledged counts, and what
            was not delivered yet, in place of all entries.
    """

    url: str = "{redis.url}"
    keys: Annotated[tuple[str, ...], Field(min_length=1)]
    group: str = ""
    pending: Pending | None = None

    def open(self, interpolate: Interpolate) -> Length:
        """Return what reads the keys."""
        return Length(interpolate(self.url), self.keys, self.group)

    def ids(self, interpolate: Interpolate) -> Events | None:
        """Return what reads the events in the keys."""
        if self.pending is None:
            return None
        keys = self.pending.keys or self.keys
        return Events(interpolate(self.url), keys, self.group, self.pending)


Kind = Literal["list", "stream", "zset", "set", "hash"]
_COUNTS: dict[str, str] = {
    "list": "LLEN",
    "stream": "XLEN",
    "zset": "ZCARD",
    "set": "SCARD",
    "hash": "HLEN",
}


class _Keys:
    """Some keys of a server, over a connection that is opened again when it broke.

    Raises:
        UsageError: at a reading, a key is of a type that holds no queue.
    """

    def __init__(self, url: str, keys: tuple[str, ...], group: str) -> None:
        self._url, self._keys, self._group = url, keys, group
        self._client: redis.Redis | None = None

    def _read(self, one: Callable[[redis.Redis, str, str], Value]) -> list[Value] | None:
        """Return what ``one`` reads of each key there is, by its type; None without an answer."""
        import redis  # noqa: PLC0415 - only this kind needs it

        try:
            if self._client is None:
                self._client = redis.Redis.from_url(
                    self._url,
                    socket_timeout=_WITHIN_S,
                    socket_connect_timeout=_WITHIN_S,
                    decode_responses=True,
                    # What is no text must be had again as it was, byte by byte.
                    encoding_errors="surrogateescape",
                )
            kinds = {key: self._kind(self._client, key) for key in self._keys}
            return [one(self._client, key, kind) for key, kind in kinds.items() if kind != "none"]
        except (redis.ConnectionError, redis.TimeoutError):
            self.close()
            return None
        except (redis.RedisError, ValueError) as error:
            self.close()
            raise UsageError(f"queue: Redis cannot be read: {error}") from None

    @staticmethod
    def _kind(client: redis.Redis, key: str) -> str:
        kind = str(client.type(key))
        if kind != "none" and kind not in _COUNTS:
            raise UsageError(f"queue.keys: {key!r} is a {kind}, which holds no queue")
        return kind

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


class Length(_Keys):
    """Adds up the keys."""

    def __call__(self) -> int | None:
        """Return how many events wait now; None while the server does not say."""
        lengths = self._read(self._length)
        return None if lengths is None else sum(lengths)

    def began(self) -> str | None:
        """Ask for the id of the server's lifetime."""
        return beginnings.of_redis(self._url)

    def _length(self, client: redis.Redis, key: str, kind: str) -> int:
        if kind == "stream" and self._group:
            return self._not_acked(client, key)
        return int(client.execute_command(_COUNTS[kind], key))  # type: ignore[no-untyped-call]

    def _not_acked(self, client: redis.Redis, key: str) -> int:
        for group in client.xinfo_groups(key):
            if group["name"] == self._group:
                # The lag is null where entries were deleted: then all that is left waits.
                lag = group.get("lag")
                return int(group["pending"]) + int(client.xlen(key) if lag is None else lag)
        return int(client.xlen(key))


class Events(_Keys):
    """Reads the events in the keys; what a group has in hand with the time since it got it.

    Whether a consumer still works on what it took the server cannot know: what it has had for
    longer than the broker promises it has no more.
    """

    leaves_no_trace = True

    def __init__(self, url: str, keys: tuple[str, ...], group: str, pending: Pending) -> None:
        super().__init__(url, keys, group)
        self._pending = pending

    def __call__(self) -> Records | None:
        """Return the events that are not done, dtype ENTRY."""
        found = self._read(lambda client, key, kind: list(self._held(client, key, kind)))
        return None if found is None else entries(each for held in found for each in held)

    def _held(self, client: redis.Redis, key: str, kind: str) -> Iterator[Held]:
        if kind == "stream":
            yield from self._of_stream(client, key)
            return
        command = {
            "list": ("LRANGE", key, 0, -1),
            "zset": ("ZRANGE", key, 0, -1),
            "set": ("SMEMBERS", key),
            "hash": ("HVALS", key),
        }[kind]
        found = [str(each) for each in client.execute_command(*command)]  # type: ignore[no-untyped-call]
        for text in found if self._pending.job_key is None else self._jobs(client, found):
            yield self._pending.of(text), False, None

    def _jobs(self, client: redis.Redis, listed: Sequence[str]) -> Iterator[str]:
        """Yield the messages of jobs that are called by their names."""
        before, _, after = str(self._pending.job_key).partition("*")
        named = [match[0] for e in listed if (match := re.match(self._pending.job_name, e))]
        for begin in range(0, len(named), _PAGE):
            with client.pipeline(transaction=False) as pipe:
                for name in named[begin : begin + _PAGE]:
                    pipe.hget(f"{before}{name}{after}", self._pending.field)
                yield from (str(text) for text in pipe.execute() if text is not None)

    def _of_stream(self, client: Any, key: str) -> Iterator[Held]:
        groups = {group["name"]: group for group in client.xinfo_groups(key)}
        group, after = groups.get(self._group), "-"
        if group is not None:
            after = f"({group['last-delivered-id']}"
            yield from self._taken(client, key)
        for _, fields in client.xrange(key, after, "+"):
            yield self._pending.of(_text(fields)), False, None

    def _taken(self, client: Any, key: str) -> Iterator[Held]:
        after = "-"
        while page := client.xpending_range(key, self._group, after, "+", _PAGE):
            with client.pipeline(transaction=False) as pipe:
                for entry in page:
                    pipe.xrange(key, entry["message_id"], entry["message_id"])
                messages = pipe.execute()
            for entry, message in zip(page, messages, strict=True):
                # One that was deleted from the stream is held by nobody any more.
                for _, fields in message:
                    idle_s = entry["time_since_delivered"] / 1000
                    yield self._pending.of(_text(fields)), False, idle_s
            after = f"({page[-1]['message_id']}"


def _text(fields: dict[str, Any]) -> str:
    """Return the fields of a message as JSON, and then each value as it is."""
    return "\n".join([json.dumps(fields), *map(str, fields.values())])
