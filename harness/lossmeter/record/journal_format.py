"""The format of the producers' journal: an intent before each event, an outcome after it.

One file per load process, outside the fault domain, mapped into memory: what was written is
the kernel's, so neither SIGKILL nor the OOM killer takes a record back. An intent is in the
file before its event is on the wire, and an event without an outcome counts as unknown.

A file is a header of 48 bytes and records of 40 bytes, little-endian. The header says how
many records there are, and is raised only after a record is whole: what lies beyond is room
for more, or the half of a record that a killed process never got to send the event of. A
journal that was closed by its own process ends with an END record and has no room left.
"""

from __future__ import annotations

import os
import struct

MAGIC = b"LOSSJRN2"
# Magic, shard, producers, seed, start, records, shards.
HEADER = struct.Struct("<8sIIqqqq")
RECORDS_AT = 32
# Kind, status, code, producer, sequence, scheduled, at, payload hash.
RECORD = struct.Struct("<BBHIQqqq")

INTENT = 1
OUTCOME = 2
END = 3


def recorded(fd: int) -> int:
    """Return how many whole records an open journal holds; it may still be growing."""
    head = os.pread(fd, HEADER.size, 0)
    if len(head) < HEADER.size:
        return 0
    there = max(0, os.fstat(fd).st_size - HEADER.size) // RECORD.size
    return min(there, int(HEADER.unpack(head)[5]))
