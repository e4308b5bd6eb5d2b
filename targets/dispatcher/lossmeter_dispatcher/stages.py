"""Marks of how far each event came, in a file that outlives the process.

One file per life, ``stages-BOOTID.bin``, mapped into memory: a mark is there for whoever
reads the file as soon as it is made, and neither SIGKILL nor the OOM killer takes it back,
since the pages belong to the kernel. Several lives and several instances each write their
own file, so none destroys another's marks.

Little-endian. A header of 64 bytes: magic, boot id (32 hexadecimal characters), capacity in
records (u64), start of the life (i64, ns since the epoch), flags (u32; 1: what is queued
outlives the process), marks for which there was no room (u32). Then records of 24 bytes in
the order of marking: sequence (u64), time (i64, ns since the epoch), producer (u32), stage
(u8), padding. The stage is written last: a record whose stage is 0 was never finished, and
ends the file. A mark of ``EVERY`` event has the greatest producer and sequence.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from enum import IntEnum
from pathlib import Path
from time import time_ns
from typing import Protocol

from lossmeter_dispatcher.config import ConfigurationError, StageSettings
from lossmeter_dispatcher.events import Event

MAGIC = b"LOSSMRK1"
HEADER = struct.Struct("<8s32sQqII")
RECORD = struct.Struct("<QqIBxxx")
SURVIVES = 1
EVERY = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

_OVERFLOW_AT = HEADER.size - 4
_SIZE = RECORD.size
_pack = RECORD.pack_into

# The file is allocated so far ahead: with room missing, a write into the map would be fatal.
_CHUNK = 43_690 * RECORD.size

_LIBC = ctypes.CDLL(None)
# Of Linux 5.14; see madvise(2). Python's mmap does not know it yet.
_POPULATE_WRITE = 23


class Stage(IntEnum):
    """How far an event came.

    Who marks on the way of every event keeps the plain numbers: reading a member of an enum
    takes as long as the mark itself.

    Attributes:
        ACCEPTED: read, and about to be queued.
        REFUSED: its producer was reported no.
        QUEUED: the queue has it.
        TAKEN: a worker has it in hand.
        HANDLING: an attempt of the handler has begun.
        RETRYING: an attempt failed, and the next one is waited for.
        PERSISTED: the insert was confirmed.
        ACKNOWLEDGED: the queue was reported that it is done.
        DEAD_LETTERED: kept as a dead letter.
        DROPPED: given up, with no place for dead letters.
        OVERFLOWED: given up, with that place full.
        UNLETTERED: given up, with that place away.
        REQUEUED: put back from the dead letters.
        CLOSING: for every event: shutdown has begun.
        ABANDONED: for every event: what is still unfinished is given up.
    """

    ACCEPTED = 1
    REFUSED = 2
    QUEUED = 3
    TAKEN = 4
    HANDLING = 5
    RETRYING = 6
    PERSISTED = 7
    ACKNOWLEDGED = 8
    DEAD_LETTERED = 9
    DROPPED = 10
    OVERFLOWED = 11
    UNLETTERED = 12
    REQUEUED = 13
    CLOSING = 14
    ABANDONED = 15


class Marks(Protocol):
    """Where stages are marked."""

    def mark(self, event: Event, stage: int) -> None:
        """Mark that an event has reached a stage."""

    def mark_every(self, stage: int) -> None:
        """Mark a stage of the life itself."""

    def close(self) -> None:
        """Give back what was allocated and not used."""


class NoMarks:
    """Marks nothing."""

    def mark(self, event: Event, stage: int) -> None:
        """Do nothing."""

    def mark_every(self, stage: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class FileMarks:
    """Marks in a file of this life; used from one thread.

    Args:
        folder: where; made if it is missing.
        boot_id: names the file.
        survives: what is queued outlives the process.
        capacity: records at most; later marks are counted only.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, boot_id: str, *, survives: bool, capacity: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"stages-{boot_id}.bin"
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        size = HEADER.size + capacity * RECORD.size
        # Sparse: what is never marked takes no room on the disk.
        os.ftruncate(self._fd, size)
        self._end = size
        self._room = HEADER.size
        self._at = HEADER.size
        self._overflow = 0
        os.posix_fallocate(self._fd, 0, HEADER.size)
        self._map = mmap.mmap(self._fd, size)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        flags = SURVIVES if survives else 0
        HEADER.pack_into(self._map, 0, MAGIC, boot_id.encode(), capacity, time_ns(), flags, 0)

    def mark(self, event: Event, stage: int) -> None:
        """Mark that an event has reached a stage."""
        at = self._at
        if at == self._room and not self._more_room():
            return
        _pack(self._map, at, event.sequence, time_ns(), event.producer, stage)
        self._at = at + _SIZE

    def mark_every(self, stage: int) -> None:
        """Mark a stage of the life itself."""
        at = self._at
        if at == self._room and not self._more_room():
            return
        producer, sequence = EVERY
        _pack(self._map, at, sequence, time_ns(), producer, stage)
        self._at = at + _SIZE

    def close(self) -> None:
        """Cut the file behind the last mark, and close it."""
        self._map.close()
        os.ftruncate(self._fd, self._at)
        os.close(self._fd)

    def _more_room(self) -> bool:
        """Allocate the next part of the file; False when it is full, or the disk is."""
        more = min(_CHUNK, self._end - self._room)
        if not (more and self._allocate(self._room, more)):
            self._overflow += 1
            struct.pack_into("<I", self._map, _OVERFLOW_AT, self._overflow & 0xFFFFFFFF)
            return False
        self._keep(self._room, more)
        self._room += more
        return True

    def _allocate(self, offset: int, size: int) -> bool:
        """Give a part of the file its place on the disk; False when there is none.

        Written, not only reserved: so its pages are made many at a time, and the first mark
        in each is cheaper.
        """
        zeros = memoryview(bytes(size))
        try:
            while zeros:
                written = os.pwrite(self._fd, zeros, offset)
                zeros, offset = zeros[written:], offset + written
        except OSError:
            return False
        return True

    def _keep(self, offset: int, size: int) -> None:
        """Keep the part that is written next in memory, and let the one before it go.

        Near a limit of memory the kernel would write each page out and read it again for the
        next mark: the process would crawl for want of memory, and not be ended for it. Where
        the kernel does not allow it, marks are made all the same.
        """
        part = self._pages(offset, size)
        # In this order: what is locked first is mapped page by page.
        _LIBC.madvise(*part, _POPULATE_WRITE)
        _LIBC.mlock(*part)
        if offset > HEADER.size:
            # The page in which both meet is still needed.
            begin = max(0, offset - _CHUNK)
            address, length = self._pages(begin, offset - begin)
            _LIBC.munlock(address, ctypes.c_size_t(length.value - mmap.PAGESIZE))

    def _pages(self, offset: int, size: int) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
        """Return address and length in bytes of the pages that hold a part of the file."""
        begin = offset // mmap.PAGESIZE * mmap.PAGESIZE
        end = -(-(offset + size) // mmap.PAGESIZE) * mmap.PAGESIZE
        return ctypes.c_void_p(self._address + begin), ctypes.c_size_t(end - begin)


def build(settings: StageSettings, boot_id: str, *, survives: bool) -> Marks:
    """Return where to mark, as the settings say.

    Raises:
        ConfigurationError: the file cannot be made.
    """
    if settings.path is None:
        return NoMarks()
    try:
        return FileMarks(settings.path, boot_id, survives=survives, capacity=settings.capacity)
    except OSError as error:
        raise ConfigurationError(
            f"DISPATCHER_STAGES__PATH {settings.path}: {error.strerror}; right is a folder "
            "that can be written to"
        ) from None
