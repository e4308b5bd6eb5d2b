"""The producers' journal: an intent before each event, an outcome after it.

One file per load process, outside the fault domain. Each record is one ``write(2)``, so a
load process that is killed loses no record that it wrote: an intent is in the file before
its event is on the wire, and an event without an outcome counts as unknown.

A file is a header of 48 bytes and records of 40 bytes, little-endian.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.model import Status

MAGIC = b"LOSSJRN1"
HEADER = struct.Struct("<8sIIqqqq")
RECORD = struct.Struct("<BBHIQqqq")

INTENT = 1
OUTCOME = 2
END = 3


class JournalWriter:
    """Writes one journal; not shared between processes."""

    def __init__(self, path: Path, shard: int, producers: int, seed: int, start_ns: int) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
        self._fd = os.open(path, flags, 0o644)
        self._intents = 0
        self._write(HEADER.pack(MAGIC, shard, producers, seed, start_ns, 0, 0))

    def intent(
        self, producer: int, sequence: int, scheduled_ns: int, sent_ns: int, payload_hash: int
    ) -> None:
        """Record that an event is about to be sent."""
        self._write(
            RECORD.pack(INTENT, 0, 0, producer, sequence, scheduled_ns, sent_ns, payload_hash)
        )
        self._intents += 1

    def outcome(
        self, producer: int, sequence: int, done_ns: int, status: Status, code: int
    ) -> None:
        """Record what the producer was told: ``code`` is an HTTP status or a ``Reason``."""
        self._write(RECORD.pack(OUTCOME, status, code, producer, sequence, 0, done_ns, 0))

    def end(self, end_ns: int, clock_jump_ns: int = 0) -> None:
        """Record that the schedule was carried out to its end, and close the file.

        Args:
            end_ns: when.
            clock_jump_ns: by how much the wall clock jumped meanwhile.
        """
        self._write(RECORD.pack(END, 0, 0, 0, self._intents, 0, end_ns, clock_jump_ns))
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, record: bytes) -> None:
        # A short write (disk full) would leave a torn record that looks like silence.
        if os.write(self._fd, record) != len(record):
            raise OSError(f"journal record torn: {len(record)} bytes did not fit on the disk")
