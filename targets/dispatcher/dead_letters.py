"""Dead-letter queues: where events go that failed for good, and how they come back.

All are bounded; when one is full the event is lost, and that is logged and counted.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path
from typing import Protocol

from targets.dispatcher.config import ConfigurationError, DeadLetter, DeadLetterKind
from targets.dispatcher.events import Accepted, Event
from targets.dispatcher.store import Store


class DeadLetterFullError(Exception):
    """There is no room for another dead letter."""


class DeadLetters(Protocol):
    """A bounded place for events that failed for good."""

    async def add(self, item: Accepted, reason: str) -> None:
        """Keep an event.

        Raises:
            DeadLetterFullError: there is no room.
            OSError, psycopg.Error: the place itself is away.
        """

    async def take_all(self) -> list[Accepted]:
        """Take all events out, oldest first, to be tried again."""

    async def count(self) -> int:
        """Return how many events are kept."""


class MemoryDeadLetters:
    """In memory: gone with the process."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Accepted] = deque()

    async def add(self, item: Accepted, reason: str) -> None:
        """Keep an event in memory."""
        del reason
        if len(self._items) >= self._capacity:
            raise DeadLetterFullError
        self._items.append(item)

    async def take_all(self) -> list[Accepted]:
        """Take all events out."""
        taken = list(self._items)
        self._items.clear()
        return taken

    async def count(self) -> int:
        """Return how many events are kept."""
        return len(self._items)


class FileDeadLetters:
    """One line per event, synchronised to the disk before it counts as kept."""

    def __init__(self, path: Path, capacity: int) -> None:
        self._path = path
        self._capacity = capacity
        self._lock = asyncio.Lock()
        self._count = len(self._lines())

    async def add(self, item: Accepted, reason: str) -> None:
        """Append an event to the file."""
        del reason
        async with self._lock:
            if self._count >= self._capacity:
                raise DeadLetterFullError
            await asyncio.to_thread(self._append, item.to_bytes() + b"\n")
            self._count += 1

    async def take_all(self) -> list[Accepted]:
        """Empty the file."""
        async with self._lock:
            lines = await asyncio.to_thread(self._lines)
            await asyncio.to_thread(self._path.write_bytes, b"")
            self._count = 0
        return [Accepted.from_bytes(line) for line in lines]

    async def count(self) -> int:
        """Return how many events are kept."""
        return self._count

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[bytes]:
        return self._path.read_bytes().splitlines() if self._path.exists() else []


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

    async def take_all(self) -> list[Accepted]:
        """Delete and return all events."""
        async with self._store.pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "delete from dead_letter "
                    "returning id, producer, sequence, key, payload, accepted_at"
                )
            ).fetchall()
        return [
            Accepted(
                Event.model_construct(producer=row[1], sequence=row[2], key=row[3], payload=row[4]),
                row[5],
            )
            for row in sorted(rows)
        ]

    async def count(self) -> int:
        """Return how many events are kept."""
        async with self._store.pool.connection() as connection:
            row = await (await connection.execute("select count(*) from dead_letter")).fetchone()
        return int(row[0]) if row else 0


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
