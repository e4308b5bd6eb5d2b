"""Reads the rows of a COPY from PostgreSQL at the speed of the network, into arrays.

Client libraries hand a COPY over row by row, and that takes several times as long as the
server needs for it. Here libpq connects and proves who it is; then the statement's answer is
taken from its socket as it comes. Rows without NULL are all equally long, so a buffer full
of them is an array already: NumPy compares the head of each row and the length of each field
with what they must be, all at once. Whatever else comes (the first row with the file's
header, the trailer, notices, an error, a row with NULL) is read one message at a time.

A connection that is encrypted is read through libpq, message by message.

Formats: https://www.postgresql.org/docs/current/protocol-message-formats.html and
https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import pq

from lossmeter.errors import CollectError
from lossmeter.model import plural

# A server that works on a query says nothing; one that is silent for longer has died.
SILENT_S = 120.0
# A few of the server's own buffers, and still in the processor's cache.
_BUFFER_BYTES = 1 << 20
_PART_ROWS = 1 << 16
# Rows that are compared at once after an odd one; each time that all are alike, twice as many.
_FEW = 64

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = struct.pack(">h", -1)
_HEAD = struct.Struct(">cI")
_FIELD = struct.Struct(">iq")
_ROW = ord("d")

Integers = npt.NDArray[np.int64]


def copy_integers(
    connection: psycopg.Connection[tuple[object, ...]],
    statement: bytes,
    width: int,
    null: int,
    sink: Callable[[Integers], None],
) -> None:
    """Read what ``COPY ... TO STDOUT (FORMAT binary)`` gives, as arrays (rows, fields).

    Args:
        connection: idle, and used for nothing else afterwards.
        statement: its fields are all of a type that is eight bytes long.
        width: how many fields there are.
        null: what stands for NULL.
        sink: gets the rows in the order in which they come, a part at a time, as an array
            that is used again.

    Raises:
        CollectError: the server reports an error or breaks off; or what it sends are not
            rows of such fields.
        psycopg.Error, OSError: the server died, or has said nothing for too long.
    """
    rows = _Rows(width, null, sink)
    if connection.pgconn.ssl_in_use:
        _through_libpq(connection, statement, rows)
    else:
        _off_the_wire(connection.pgconn, statement, rows)
    rows.end()


def _through_libpq(
    connection: psycopg.Connection[tuple[object, ...]], statement: bytes, rows: _Rows
) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for message in copy:
            rows.add_message(bytes(message))


def _off_the_wire(pgconn: pq.abc.PGconn, statement: bytes, rows: _Rows) -> None:
    pgconn.send_query(statement)
    while pgconn.flush():
        # Longer than the socket's buffer, which no query is that a person writes.
        continue
    with closing(socket.socket(fileno=os.dup(pgconn.socket))) as wire:
        wire.settimeout(SILENT_S)
        _Stream(wire, rows).read()


class _Rows:
    """Rows as they come, in one array that is emptied into a sink."""

    def __init__(self, width: int, null: int, sink: Callable[[Integers], None]) -> None:
        self._sink = sink
        self.width = width
        self.begun = False
        self._ended = False
        self._null = null
        self._count = 0
        self._table = np.empty((_PART_ROWS, width), np.int64)

    def message_of_a_row(self) -> np.dtype[np.void]:
        """Return what the message of a row without NULL looks like."""
        one = np.dtype([("length", ">i4"), ("value", ">i8")])
        head = [("kind", "u1"), ("length", ">i4"), ("fields", ">i2")]
        return np.dtype([*head, ("values", one, (self.width,))])

    def add(self, values: npt.NDArray[Any]) -> None:
        """Take rows that were read together, shape (rows, fields)."""
        for begin in range(0, len(values), _PART_ROWS):
            part = values[begin : begin + _PART_ROWS]
            if self._count + len(part) > len(self._table):
                self._empty()
            self._table[self._count : self._count + len(part)] = part
            self._count += len(part)

    def _empty(self) -> None:
        self._sink(self._table[: self._count])
        self._count = 0

    def add_message(self, content: bytes) -> None:
        """Take the content of one CopyData message: a row, after the header, or the trailer."""
        if not self.begun:
            if not content.startswith(_HEADER):
                raise CollectError("the database's answer to COPY does not begin as one")
            self.begun = True
            content = content[len(_HEADER) :]
        if content == _TRAILER:
            self._ended = True
        elif content:
            self.add(np.array([self._row(content)], np.int64))

    def end(self) -> None:
        """Give the last rows to the sink.

        Raises:
            CollectError: the trailer has not come.
        """
        if not self._ended:
            raise CollectError("the database's answer to COPY broke off before its end")
        self._empty()

    def _row(self, content: bytes) -> list[int]:
        (count,) = struct.unpack_from(">h", content)
        if count != self.width:
            raise CollectError(f"the database sent a row of {count} fields, not of {self.width}")
        values, at = [], 2
        for _ in range(count):
            (length,) = struct.unpack_from(">i", content, at)
            if length == -1:
                values.append(self._null)
                at += 4
                continue
            if length != 8:
                raise CollectError(
                    f"the database sent a field of {plural(length, 'byte')}, not of 8"
                )
            values.append(_FIELD.unpack_from(content, at)[1])
            at += _FIELD.size
        if at != len(content):
            raise CollectError("the database sent a row that is longer than its fields")
        return values


class _Stream:
    """The answer to one statement, message by message or many rows at once."""

    def __init__(self, wire: socket.socket, rows: _Rows) -> None:
        self._wire = wire
        self._rows = rows
        self._type = rows.message_of_a_row()
        self._data = bytearray(_BUFFER_BYTES)
        self._begin = self._end = 0
        self._most = _FEW

    def read(self) -> None:
        """Read until the server is ready for another statement."""
        while True:
            self._more()
            while self._begin < self._end:
                if self._many_rows():
                    continue
                kind, content = self._message() or (b"", b"")
                if kind == b"Z":
                    return
                if kind == b"":
                    break
                self._take(kind, content)

    def _take(self, kind: bytes, content: bytes) -> None:
        if kind == b"d":
            self._rows.add_message(content)
        elif kind == b"E":
            raise CollectError(f"what was persisted cannot be read: {_described(content)}")

    def _more(self) -> None:
        """Receive what there is, behind the part of a message that is left over."""
        data, left = self._data, self._end - self._begin
        data[:left] = data[self._begin : self._end]
        if left == len(data):
            # One message is longer than the buffer.
            self._data = data = data + bytearray(len(data))
        count = self._wire.recv_into(memoryview(data)[left:])
        if not count:
            raise CollectError("the database went away before all rows were read")
        self._begin, self._end = 0, left + count

    def _many_rows(self) -> int:
        """Take the rows at the front that are all alike and return how many they are."""
        count = min((self._end - self._begin) // self._type.itemsize, self._most)
        # The first message has the header as well.
        if not count or not self._rows.begun or self._data[self._begin] != _ROW:
            return 0
        seen = np.frombuffer(self._data, self._type, count, self._begin)
        alike = (
            (seen["kind"] == _ROW)
            & (seen["length"] == self._type.itemsize - 1)
            & (seen["fields"] == self._rows.width)
            & (seen["values"]["length"] == 8).all(axis=1)
        )
        if alike.all():
            self._most = min(2 * self._most, len(self._data))
        else:
            count, self._most = int(alike.argmin()), _FEW
        if count:
            self._rows.add(seen["values"]["value"][:count])
            self._begin += count * self._type.itemsize
        return count

    def _message(self) -> tuple[bytes, bytes] | None:
        """Take the message at the front; None when not all of it is there."""
        if self._end - self._begin < _HEAD.size:
            return None
        kind, length = _HEAD.unpack_from(self._data, self._begin)
        if kind not in _KINDS:
            raise CollectError(
                f"the database's answer is not understood: it has a message {kind!r}"
            )
        end = self._begin + 1 + length
        if end > self._end:
            return None
        content = bytes(self._data[self._begin + _HEAD.size : end])
        self._begin = end
        return kind, content


# What may come in answer to a COPY: its begin, rows, end and completion, an error, readiness,
# and at any time a notice, a notification or a setting that changed.
_KINDS = frozenset((b"H", b"d", b"c", b"C", b"E", b"Z", b"N", b"A", b"S"))


def _described(content: bytes) -> str:
    """Return the message in an ErrorResponse."""
    fields: Sequence[bytes] = content.split(b"\0")
    texts = {part[:1]: part[1:].decode(errors="replace") for part in fields if part}
    return " ".join(texts.get(b"M", "an error without a message").split())
