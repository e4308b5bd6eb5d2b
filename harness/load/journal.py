"""The producers' journal: an intent before each event, an outcome after it.

One file per load process, outside the fault domain, mapped into memory: what was written is
the kernel's, so neither SIGKILL nor the OOM killer takes a record back. An intent is in the
file before its event is on the wire, and an event without an outcome counts as unknown.

A file is a header of 48 bytes and records of 40 bytes, little-endian. The header says how
many records there are, and is raised only after a record is whole: what lies beyond is room
for more, or the half of a record that a killed process never got to send the event of. A
journal that was closed by its own process ends with an END record and has no room left.

Journals of the first version (``LOSSJRN1``) were appended to; their length is their number.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Self

from harness.model import Status

MAGIC = b"LOSSJRN1"
MAPPED = b"LOSSJRN2"
# Magic, shard, producers, seed, start, records, shards.
HEADER = struct.Struct("<8sIIqqqq")
RECORDS_AT = 32
# Kind, status, code, producer, sequence, scheduled, at, payload hash.
RECORD = struct.Struct("<BBHIQqqq")

INTENT = 1
OUTCOME = 2
END = 3

# The window is moved on as the file grows, so that memory does not grow with it. A record
# that begins in it may end on the page after it.
_WINDOW = 1 << 22
_PAGE = mmap.PAGESIZE


def recorded(fd: int) -> int:
    """Return how many whole records an open journal holds; it may still be growing."""
    head = os.pread(fd, HEADER.size, 0)
    there = max(0, os.fstat(fd).st_size - HEADER.size) // RECORD.size
    if len(head) < HEADER.size or head.startswith(MAGIC):
        return there
    return min(there, int(HEADER.unpack(head)[5]))


class JournalWriter:
    """Writes one journal; not shared between processes.

    Args:
        path: must not exist.
        shard, shards: which of how many load processes this is.
        producers: ids per shard.
        seed: of the schedule.
        start_ns: when it began.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a header is made of
        self, path: Path, shard: int, producers: int, seed: int, start_ns: int, shards: int = 1
    ) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        os.pwrite(self._fd, HEADER.pack(MAPPED, shard, producers, seed, start_ns, 0, shards), 0)
        self._base = 0
        self._window = self._open_window()
        self._header = mmap.mmap(self._fd, _PAGE)
        # One aligned store of eight bytes: a reader sees the old number or the new one.
        self._counted = memoryview(self._header)[RECORDS_AT : RECORDS_AT + 8].cast("q")
        self._at = HEADER.size
        self._records = 0
        self._intents = 0
        self._pack_into = RECORD.pack_into

    def intent(
        self, producer: int, sequence: int, scheduled_ns: int, sent_ns: int, payload_hash: int
    ) -> None:
        """Record that an event is about to be sent."""
        at = self._at
        self._pack_into(
            self._window,
            at,
            INTENT,
            0,
            0,
            producer,
            sequence,
            scheduled_ns,
            sent_ns,
            payload_hash,
        )
        self._intents += 1
        self._records = self._counted[0] = self._records + 1
        self._at = at + 40
        if self._at >= _WINDOW:
            self._move_on()

    def outcome(
        self, producer: int, sequence: int, done_ns: int, status: Status, code: int
    ) -> None:
        """Record what the producer was told: ``code`` is an HTTP status or a ``Reason``."""
        at = self._at
        self._pack_into(self._window, at, OUTCOME, status, code, producer, sequence, 0, done_ns, 0)
        self._records = self._counted[0] = self._records + 1
        self._at = at + 40
        if self._at >= _WINDOW:
            self._move_on()

    def end(self, end_ns: int, clock_jump_ns: int = 0) -> None:
        """Record that the schedule was carried out to its end, and close the file.

        Args:
            end_ns: when.
            clock_jump_ns: by how much the wall clock jumped meanwhile.
        """
        at = self._at
        self._pack_into(self._window, at, END, 0, 0, 0, self._intents, 0, end_ns, clock_jump_ns)
        self._counted[0] = self._records + 1
        self._at = at + RECORD.size
        os.ftruncate(self._fd, self._base + self._at)
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            self._counted.release()
            self._header.close()
            self._window.close()
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_window(self) -> mmap.mmap:
        # Room that is only promised would be a SIGBUS when the disk is full, not an error.
        os.posix_fallocate(self._fd, self._base, _WINDOW + _PAGE)
        return mmap.mmap(self._fd, _WINDOW + _PAGE, offset=self._base)

    def _move_on(self) -> None:
        self._window.close()
        self._base += _WINDOW
        self._at -= _WINDOW
        self._window = self._open_window()
