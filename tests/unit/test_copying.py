"""What PostgreSQL sends in answer to a COPY, in whatever pieces it comes."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.errors import CollectError
from lossmeter.world.stores._postgres_copying import _Rows, _Stream

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
WIDTH, NULL = 3, -1
Row = list[int | None]


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack(">I", 4 + len(content)) + content


def _row(values: Row) -> bytes:
    fields = [
        struct.pack(">i", -1) if value is None else struct.pack(">iq", 8, value) for value in values
    ]
    return struct.pack(">h", len(values)) + b"".join(fields)


def _answer(rows: list[Row], between: bytes = b"") -> bytes:
    """Return all that a server sends, with something between the rows."""
    contents = [_row(row) for row in rows] + [struct.pack(">h", -1)]
    contents[0] = HEADER + contents[0]
    return b"".join(
        (
            _message(b"H", b"\1\0\3" + bytes(6)),
            between.join(_message(b"d", content) for content in contents),
            _message(b"c", b""),
            _message(b"C", b"COPY 1\0"),
            _message(b"Z", b"I"),
        )
    )


def _read(parts: list[bytes]) -> np.ndarray:
    ours, theirs = socket.socketpair()
    tables: list[np.ndarray] = []
    rows = _Rows(WIDTH, NULL, lambda table: tables.append(table.copy()))
    with ours:
        ours.settimeout(10)
        sender = threading.Thread(target=_send, args=(theirs, parts))
        sender.start()
        try:
            _Stream(ours, rows).read()
        finally:
            sender.join()
    rows.end()
    return np.concatenate(tables)


def _send(wire: socket.socket, parts: list[bytes]) -> None:
    with wire:
        for part in parts:
            wire.sendall(part)


def _expected(rows: list[Row]) -> list[list[int]]:
    return [[NULL if value is None else value for value in row] for row in rows]


BIG = st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(st.lists(BIG | st.none(), min_size=WIDTH, max_size=WIDTH), max_size=30)


@given(ROWS, st.lists(st.integers(1, 2000), max_size=8))
def test_rows_are_the_same_however_they_are_cut(rows: list[Row], cuts: list[int]) -> None:
    data, parts = _answer(rows), []
    for cut in cuts:
        parts.append(data[:cut])
        data = data[cut:]
    assert _read([*parts, data]).tolist() == _expected(rows)


def test_many_rows_with_one_of_another_kind_among_them() -> None:
    rows: list[Row] = [[n, -n, n * 2**40] for n in range(50_000)]
    rows[0], rows[31_000], rows[-1] = [None, 1, 2], [1, None, None], [None, None, None]
    assert _read([_answer(rows)]).tolist() == _expected(rows)


@pytest.mark.parametrize("kind", [b"N", b"A", b"S"])
def test_what_a_server_may_say_at_any_time_is_no_row(kind: bytes) -> None:
    rows: list[Row] = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    # As long as a row, and long beyond the buffer.
    for length in (len(_row(rows[0])), 3_000_000):
        data = _answer(rows, _message(kind, bytes(length)))
        assert _read([data]).tolist() == rows


def test_an_error_of_the_server_is_told_as_it_says_it() -> None:
    data = _answer([[1, 2, 3]])[:60] + _message(b"E", b"SERROR\0C57014\0Mcancelled\nby you\0\0")
    with pytest.raises(CollectError, match="cannot be read: cancelled by you"):
        _read([_message(b"E", b"SERROR\0C57014\0Mcancelled\nby you\0\0"), data])


@pytest.mark.parametrize("kept", [0, 3, 40, 150, -60, -20, -1])
def test_an_answer_that_breaks_off_is_not_taken_for_whole(kept: int) -> None:
    data = _answer([[n, n, n] for n in range(4)])
    with pytest.raises(CollectError, match="went away before all rows"):
        _read([data[:kept]])


def test_an_answer_without_its_trailer_is_not_taken_for_whole() -> None:
    trailer = _message(b"d", struct.pack(">h", -1))
    data = _answer([[1, 2, 3]]).replace(trailer, b"")
    with pytest.raises(CollectError, match="broke off before its end"):
        _read([data])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_row([1, 2]), "a row of 2 fields, not of 3"),
        (struct.pack(">hiiiqiq", 3, 4, 1, 8, 2, 8, 3), "a field of 4 bytes, not of 8"),
        (_row([1, 2, 3]) + b"x", "longer than its fields"),
    ],
)
def test_rows_of_another_form_are_refused(content: bytes, said: str) -> None:
    first = _message(b"d", HEADER + _row([1, 2, 3]))
    with pytest.raises(CollectError, match=said):
        _read([first + _message(b"d", content) + _message(b"Z", b"I")])


@pytest.mark.parametrize("data", [b"\x16\x03\x01garbage", _message(b"d", b"no header")])
def test_what_is_not_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(CollectError, match=r"is not understood|does not begin as one"):
        _read([data])
