"""Values as stores hand them over in Python, made numbers of a ROW."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Protocol

import numpy as np

from lossmeter.errors import CollectError
from lossmeter.record.arrays import PAIR, ROW, UNDATED
from lossmeter.world.stores import Sink

Row = tuple[int, int, int, int, int]
"""The fields of a ROW."""

PART_ROWS = 1 << 13
_SECONDS = re.compile(r"\s*[0-9]+(\.[0-9]*)?\s*", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(value: object, unit_ns: int = 10**9) -> int:
    """Return a time as nanoseconds since 1970; UNDATED where it is none.

    Args:
        value: a number of units; or a date and time, also as ISO 8601 writes them, of UTC
            where it names no zone.
        unit_ns: of a number.
    """
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    try:
        if isinstance(value, str):
            number = _SECONDS.fullmatch(value)
            value = Decimal(value) if number else datetime.fromisoformat(value.strip())
        if isinstance(value, datetime):
            since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
            found = ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000
        elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return UNDATED
        else:
            found = int(Decimal(value) * unit_ns)
    except (ValueError, ArithmeticError):
        return UNDATED
    return found if 0 < found < 2**63 else UNDATED


def give(rows: Iterable[Row], array: str, sink: Sink) -> None:
    """Give rows to a sink as arrays; of all but ``rows`` the ids alone."""
    left = iter(rows)
    while part := list(islice(left, PART_ROWS)):
        sink(np.array(part, ROW) if array == "rows" else np.array([r[:2] for r in part], PAIR))


class _Closing(Protocol):
    def count(self, array: str) -> int: ...
    def close(self) -> None: ...


class Counting:
    """Counts the rows of a store of its own; from any thread.

    Args:
        store: is asked.
        every_s: a count that is younger is given again, where counting costs much.
    """

    def __init__(self, store: _Closing, every_s: float = 0.0) -> None:
        self._store, self._every_s = store, every_s
        self._lock = threading.Lock()
        self._last: tuple[float, int | None] = (-math.inf, None)

    def __call__(self) -> int | None:
        """Return how many rows there are now; None while the store does not say."""
        with self._lock:
            if time.monotonic() - self._last[0] < self._every_s:
                return self._last[1]
            try:
                rows = self._store.count("rows")
            except CollectError:
                rows = None
            self._last = time.monotonic(), rows
            return rows

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._store.close()
