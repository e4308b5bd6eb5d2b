"""Writes a journal: each intent before its event is sent, each outcome after its answer."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Self

from lossmeter.model import Status
from lossmeter.record.journal_format import END, HEADER, INTENT, MAGIC, OUTCOME, RECORD, RECORDS_AT

# The window is moved on as the file grows, so that memory does not grow with it. A record
# that begins in it may end on the page after it.
_WINDOW = 1 << 22
_PAGE = mmap.PAGESIZE


class JournalWriter:
    """Writes one journal; not shared between processes."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a header is made of
        self, path: Path, shard: int, producers: int, seed: int, start_ns: int, shards: int = 1
    ) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        os.pwrite(self._fd, HEADER.pack(MAGIC, shard, producers, seed, start_ns, 0, shards), 0)
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
        """Record the answer that the producer got: ``code`` is an HTTP status or a ``Reason``."""
        at = self._at
        self._pack_into(self._window, at, OUTCOME, status, code, producer, sequence, 0, done_ns, 0)
        self._records = self._counted[0] = self._records + 1
        self._at = at + 40
        if self._at >= _WINDOW:
            self._move_on()

    def end(self, end_ns: int, clock_jump_ns: int = 0) -> None:
        """Record that the schedule was carried out to its end, and close the file."""
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
