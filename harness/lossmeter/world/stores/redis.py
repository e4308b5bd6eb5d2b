"""Redis: the entries of a list or a stream in their order, the members of a set or a hash."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lossmeter.errors import CollectError
from lossmeter.model import plural
from lossmeter.plan.kinds import Interpolate
from lossmeter.world import beginnings
from lossmeter.world.stores._records import UNDATED, Record, RecordStore, Shape

if TYPE_CHECKING:
    import redis

NEEDS = ("redis",)

_WITHIN_S = 5.0
_PART = 1000
# How often, and how soon, a set is looked at until the server no longer rebuilds it.
_TRIES, _AGAIN_S = 50, 0.1
_COUNTS = {"list": "LLEN", "stream": "XLEN", "set": "SCARD", "hash": "HLEN"}
_SOURCES = {"rows": "key", "dead_lettered": "dead_letter_key", "pending": "pending_key"}

Key = Annotated[str, Field(min_length=1)]


class Options(Shape):
    """Which key, and where things stand in an entry of it.

    Attributes:
        url: of the server, around every proxy.
        key: what holds the events; it may come with the first of them.
        type: of the key.
        newest_first: of a list: events are put at its head, as LPUSH does.
        field: of a stream: the field of an entry that holds the record; empty where the
            entry's own fields are the record.
        record: of a hash: whether a member's value or its name is the record.
        dead_letter_key, pending_key: of the same type, for events that are accounted for there.
    """

    url: str = "{redis.url}"
    key: Key
    type: Literal["list", "stream", "set", "hash"]
    newest_first: bool = False
    field: str = ""
    record: Literal["value", "name"] = "value"
    dead_letter_key: Key | None = None
    pending_key: Key | None = None

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if self.pattern is not None and self.type == "stream" and not self.field:
            raise ValueError("a pattern is searched in text; name the field of the stream's entry")
        return self

    def open(self, interpolate: Interpolate) -> Store:
        """Return what reads the keys."""
        return Store(interpolate(self.url), self)


class Store(RecordStore):
    """Reads keys of one type; a stream's entries bear the server's time, in milliseconds."""

    def __init__(self, url: str, asked: Options) -> None:
        super().__init__(asked)
        self._url, self._asked = url, asked
        self.sources = {a: n for a, n in _SOURCES.items() if getattr(asked, n) is not None}
        self.positioned = asked.type in {"list", "stream"}
        self.dated = asked.type == "stream"
        self._client: redis.Redis | None = None

    def count(self, array: str) -> int:
        """Return how many entries there are."""
        return self._count(self.sources[array])

    def _count(self, source: str) -> int:
        return int(self._ask(source, _COUNTS[self._asked.type], self._key(source)))

    def records(self, source: str) -> Iterator[Record]:
        """Yield the entries, a part of them from the server at a time."""
        kind = self._asked.type
        if kind == "list":
            yield from self._list(source)
        elif kind == "stream":
            yield from self._stream(source)
        else:
            yield from self._members(source)

    def _list(self, source: str) -> Iterator[Record]:
        # Counted from the old end, so that what still comes moves nothing.
        length, newest_first = self._count(source), self._asked.newest_first
        for begin in range(0, length, _PART):
            end = min(begin + _PART, length) - 1
            at = (-1 - end, -1 - begin) if newest_first else (begin, end)
            part = self._ask(source, "LRANGE", self._key(source), *at)
            for place, element in enumerate(reversed(part) if newest_first else part, begin):
                yield element, place, UNDATED

    def _stream(self, source: str) -> Iterator[Record]:
        self._check_whole(source)
        begin, place, field = b"-", 0, self._asked.field.encode()
        while part := self._ask(source, "XRANGE", self._key(source), begin, "+", "COUNT", _PART):
            for name, fields in part:
                content = fields.get(field, b"") if field else _named(fields)
                yield content, place, int(name.partition(b"-")[0]) * 10**6
                place += 1
            begin = b"(" + part[-1][0]

    def _check_whole(self, source: str) -> None:
        """Make sure that no entry has been removed, which would look lost.

        Raises:
            CollectError: some have.
        """
        if not self._count(source):
            return
        about = self._ask(source, "XINFO STREAM", self._key(source))
        added, left = int(about.get("entries-added", about["length"])), int(about["length"])
        if added > left:
            key = self._key(source)
            gone = plural(added - left, f"entry of {key!r} was", f"entries of {key!r} were")
            raise CollectError(
                f"persisted.{source}: {gone} trimmed or deleted, and what was there cannot be "
                "known; keep all for the time of a run"
            )

    def _members(self, source: str) -> Iterator[Record]:
        """Yield the members once each.

        SCAN gives each at least once, and more than once while the server moves them to a
        larger table; as many as there are means that it does not, and that none came twice.
        """
        for _ in range(_TRIES):
            if sum(map(len, self._scan(source))) == self._count(source):
                break
            time.sleep(_AGAIN_S)
        seen = 0
        for part in self._scan(source):
            seen += len(part)
            yield from ((member, 0, UNDATED) for member in part)
        if seen != self._count(source):
            raise CollectError(
                f"persisted.{source}: {self._key(source)!r} changed while it was read"
            )

    def _scan(self, source: str) -> Iterator[list[bytes]]:
        """Yield the records of the members, as the server gives them."""
        hashed, cursor = self._asked.type == "hash", 0
        command = "HSCAN" if hashed else "SSCAN"
        while True:
            cursor, part = self._ask(source, command, self._key(source), cursor, "COUNT", _PART)
            if hashed:
                part = list(part.values() if self._asked.record == "value" else part)
            yield part
            if not int(cursor):
                return

    def _key(self, source: str) -> str:
        return str(getattr(self._asked, source))

    def _ask(self, source: str, *words: object) -> Any:
        """Return the answer to a command.

        Raises:
            CollectError: the server is away, or the key is of another type.
        """
        import redis  # noqa: PLC0415 - only this kind needs it

        try:
            if self._client is None:
                self._client = redis.Redis.from_url(
                    self._url, socket_timeout=_WITHIN_S, socket_connect_timeout=_WITHIN_S
                )
            return self._client.execute_command(*words)  # type: ignore[no-untyped-call]
        except (redis.RedisError, ValueError) as error:
            found = self._type(self._key(source)) if "WRONGTYPE" in str(error) else ""
            self.close()
            if found:
                raise CollectError(
                    f"persisted.{source}: {self._key(source)!r} is a {found} in Redis, not a "
                    f"{self._asked.type}"
                ) from None
            raise CollectError(f"persisted.{source}: Redis cannot be read: {error}") from None

    def _type(self, key: str) -> str:
        """Return the type of a key, ``none`` where it is not there."""
        found: Any = b"" if self._client is None else self._client.type(key)
        return str(found, "ascii")

    def began(self) -> str | None:
        """Ask for the id of the server's lifetime."""
        return beginnings.of_redis(self._url)

    def absent(self) -> str:
        """Return that there is no such key."""
        self._count("key")
        there = self._type(self._asked.key) != "none"
        return "" if there else f"there is no key {self._asked.key!r} in Redis"

    def place(self, source: str, number: int) -> str:
        """Return which entry it is."""
        return f"entry {number} of {self._key(source)!r}"

    def again(self) -> Self:
        """Return another that reads the same over a connection of its own."""
        return type(self)(self._url, self._asked)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _named(fields: dict[bytes, bytes]) -> dict[str, object]:
    return {name.decode("utf-8", "replace"): value for name, value in fields.items()}
