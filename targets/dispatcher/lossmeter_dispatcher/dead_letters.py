"""Dead-letter queues: where events go that failed for good, and how they come back.

All are bounded; when one is full the event is lost, and that is logged and counted.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from lossmeter_dispatcher.config import ConfigurationError, DeadLetter, DeadLetterKind
from lossmeter_dispatcher.events import EVENT, Accepted, Event
from lossmeter_dispatcher.store import Store

# Names the lock of the database that keeps replays apart.
_REPLAYING = 816


class DeadLetterFullError(Exception):
    """There is no room for another dead letter."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter.

    Attributes:
        item: the event.
        receipt: what its place needs to find it again.
    """

    item: Accepted
    receipt: int


class DeadLetters(Protocol):
    """A bounded place for events that failed for good."""

    async def add(self, item: Accepted, reason: str) -> None:
        """Keep an event.

        Raises:
            DeadLetterFullError: there is no room.
            OSError, psycopg.Error: the place itself is away.
        """

    async def oldest(self) -> Letter | None:
        """Return the oldest dead letter, which stays until it is removed."""

    async def remove(self, letter: Letter) -> None:
        """Remove a dead letter that ``oldest`` returned."""

    async def count(self) -> int:
        """Return how many events are kept."""

    def alone(self) -> AbstractAsyncContextManager[bool]:
        """Keep other replays out, or yield False while one is under way elsewhere.

        Two at once would both take the oldest letter, and its event would come twice.
        """


class _OneProcess:
    """Dead letters that one process has for itself."""

    def __init__(self) -> None:
        self._replaying = asyncio.Lock()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Wait for the replay that is under way."""
        async with self._replaying:
            yield True


class MemoryDeadLetters(_OneProcess):
    """In memory: gone with the process."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._items: deque[Accepted] = deque()

    async def add(self, item: Accepted, reason: str) -> None:
        """Keep an event in memory."""
        del reason
        if len(self._items) >= self._capacity:
            raise DeadLetterFullError
        self._items.append(item)

    async def oldest(self) -> Letter | None:
        """Return the oldest event."""
        return Letter(self._items[0], id(self._items[0])) if self._items else None

    async def remove(self, letter: Letter) -> None:
        """Remove the oldest event, if it is still this one."""
        if self._items and id(self._items[0]) == letter.receipt:
            self._items.popleft()

    async def count(self) -> int:
        """Return how many events are kept."""
        return len(self._items)


class FileDeadLetters(_OneProcess):
    """One JSON object a line per event, synchronised to the disk before it counts as kept."""

    def __init__(self, path: Path, capacity: int) -> None:
        super().__init__()
        self._path = path
        self._capacity = capacity
        self._lock = asyncio.Lock()
        self._count = len(self._lines())

    async def add(self, item: Accepted, reason: str) -> None:
        """Append an event to the file."""
        async with self._lock:
            if self._count >= self._capacity:
                raise DeadLetterFullError
            await asyncio.to_thread(self._append, _line(item, reason))
            self._count += 1

    async def oldest(self) -> Letter | None:
        """Return the event of the first line."""
        async with self._lock:
            lines = await asyncio.to_thread(self._lines)
        return Letter(_item(lines[0]), hash(lines[0])) if lines else None

    async def remove(self, letter: Letter) -> None:
        """Remove the first line, if it is still this event's."""
        async with self._lock:
            lines = await asyncio.to_thread(self._lines)
            if lines and hash(lines[0]) == letter.receipt:
                await asyncio.to_thread(self._rewrite, lines[1:])
                self._count = len(lines) - 1

    async def count(self) -> int:
        """Return how many events are kept."""
        return self._count

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self, lines: list[bytes]) -> None:
        """Replace the file as a whole: a crash leaves the old one or the new one."""
        partial = self._path.with_name(f"{self._path.name}.tmp")
        with partial.open("wb") as file:
            file.writelines(line + b"\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)

    def _lines(self) -> list[bytes]:
        return self._path.read_bytes().splitlines() if self._path.exists() else []


def _line(item: Accepted, reason: str) -> bytes:
    reported = asdict(item.event) | {"accepted_at": item.accepted_at, "reason": reason}
    return json.dumps(reported, separators=(",", ":")).encode() + b"\n"


def _item(line: bytes) -> Accepted:
    reported = json.loads(line)
    return Accepted(EVENT.validate_python(reported), float(reported["accepted_at"]))


class DatabaseDeadLetters:
    """A table beside the notices."""

    def __init__(self, store: Store, capacity: int) -> None:
        self._store = store
        self._capacity = capacity

    async def add(self, item: Accepted, reason: str) -> None:
        """Insert an event, in one statement with the check for room."""
        event = item.event
        fields = (event.producer, event.sequence, event.key, event.payload, reason)
        async with self._store.pool.connection() as connection:
            done = await connection.execute(
                "insert into dead_letter (producer, sequence, key, payload, reason, accepted_at) "
                "select %s, %s, %s, %s, %s, %s where (select count(*) from dead_letter) < %s",
                (*fields, item.accepted_at, self._capacity),
            )
        if done.rowcount == 0:
            raise DeadLetterFullError

    async def oldest(self) -> Letter | None:
        """Return the event of the oldest row."""
        async with self._store.pool.connection() as connection:
            found = await connection.execute(
                "select id, producer, sequence, key, payload, accepted_at from dead_letter "
                "order by id limit 1"
            )
            row = await found.fetchone()
        if row is None:
            return None
        ident, producer, sequence, key, payload, accepted_at = row
        event = Event(producer, sequence, key, payload)
        return Letter(Accepted(event, accepted_at), ident)

    async def remove(self, letter: Letter) -> None:
        """Delete the row."""
        async with self._store.pool.connection() as connection:
            await connection.execute("delete from dead_letter where id = %s", (letter.receipt,))

    async def count(self) -> int:
        """Return how many events are kept."""
        async with self._store.pool.connection() as connection:
            row = await (await connection.execute("select count(*) from dead_letter")).fetchone()
        return int(row[0]) if row else 0

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Hold a lock of the database, for other instances share its table."""
        async with self._store.pool.connection() as connection:
            asked = await connection.execute("select pg_try_advisory_lock(%s)", (_REPLAYING,))
            row = await asked.fetchone()
            held = bool(row and row[0])
            try:
                yield held
            finally:
                if held:
                    await connection.execute("select pg_advisory_unlock(%s)", (_REPLAYING,))


def build(settings: DeadLetter, store: Store) -> DeadLetters | None:
    """Return the dead-letter queue that the settings name; None for none."""
    match settings.kind:
        case DeadLetterKind.NONE:
            return None
        case DeadLetterKind.MEMORY:
            return MemoryDeadLetters(settings.capacity)
        case DeadLetterKind.DATABASE:
            return DatabaseDeadLetters(store, settings.capacity)
        case DeadLetterKind.FILE:
            if settings.path is None:
                raise ConfigurationError("DISPATCHER_DEAD_LETTER__PATH is missing")
            return FileDeadLetters(settings.path, settings.capacity)
