"""Records that stores hold as text, and where an event's id stands in one."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import field_validator

from lossmeter.errors import CollectError, UsageError
from lossmeter.plan.kinds import Options as Common
from lossmeter.record.arrays import UNDATED
from lossmeter.record.payloads import payload_hash
from lossmeter.record.whole import FOREIGN, whole
from lossmeter.world.stores import Columns, Sink
from lossmeter.world.stores._values import Counting, Row, give, nanoseconds

_UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_IDS = ("producer", "sequence")
_MOST_DIGITS = 20
_SHOWN = 60

Record = tuple[bytes | Mapping[str, object], int, int]
"""A record, its position, and when the store got it (UNDATED where it does not tell)."""


class Shape(Common):
    r"""Where things stand in a record: fields of a JSON object, or groups of a pattern.

    Attributes:
        producer, sequence, payload, persisted_at: names of fields, with dots for those of
            inner objects; no payload or no time is read where none is named.
        time_unit: of ``persisted_at`` where it is a number; text is read as ISO 8601.
        pattern: a regular expression that is searched in a record of any other text; its
            groups are called as the fields above, e.g. ``(?P<producer>\d+)-(?P<sequence>\d+)``.
    """

    producer: str = "producer"
    sequence: str = "sequence"
    payload: str | None = None
    persisted_at: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _names_the_event(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if missing := sorted(set(_IDS) - set(groups)):
            raise ValueError(
                f"{pattern!r} has no group (?P<{missing[0]}>…): no event could be found again"
            )
        return pattern

    @property
    def named(self) -> Mapping[str, str]:
        """Return the names of the fields that are read, by what they hold."""
        if self.pattern is not None:
            return {name: name for name in re.compile(self.pattern).groupindex}
        names = (*_IDS, "payload", "persisted_at")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def row(self, record: Record) -> Row:
        """Return a record as a row.

        Raises:
            ValueError, TypeError, KeyError, RecursionError: it names no event.
        """
        content, position, at_ns = record
        named = self.named
        if self.pattern is None:
            fields = content if isinstance(content, Mapping) else _parsed(content)
        else:
            if isinstance(content, Mapping):
                raise TypeError("no text")
            found = re.search(self.pattern, content.decode("utf-8", "replace"))
            if found is None:
                raise ValueError("the pattern is not found in it")
            fields = found.groupdict()
        producer, sequence = (whole(_field(fields, named[name])) for name in _IDS)
        digest = _digest(_field_or_none(fields, named.get("payload")))
        if "persisted_at" in named:
            unit_ns = _UNITS_NS[self.time_unit]
            at_ns = nanoseconds(_field_or_none(fields, named["persisted_at"]), unit_ns)
        return producer, sequence, digest, position, at_ns


class RecordStore(ABC):
    """Reads records one by one.

    Attributes:
        positioned: their positions are those in which they were persisted.
        dated: the store itself tells when it got each.
        sources: the options that name what is read, by array.
    """

    positioned = True
    dated = False
    sources: Mapping[str, str]

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    @abstractmethod
    def records(self, source: str) -> Iterator[Record]:
        """Yield what a source holds.

        Raises:
            CollectError: it cannot be read.
        """

    @abstractmethod
    def place(self, source: str, number: int) -> str:
        """Return, in words, where the record of a number stands, the first is 1."""

    @abstractmethod
    def count(self, array: str) -> int:
        """Return how many records there are now."""

    @abstractmethod
    def again(self) -> Self:
        """Return another that reads the same over a connection of its own."""

    def close(self) -> None:  # noqa: B027 - not every store has a connection
        """Close the connection, if there is one."""

    def check(self) -> Columns:
        """Return what is known of each row; raises UsageError where nothing can be read."""
        try:
            for array in self.sources:
                self.count(array)
        except CollectError as error:
            raise UsageError(str(error)) from None
        return self.columns()

    def columns(self) -> Columns:
        """Return what is known of each row."""
        named = self.shape.named
        return Columns("payload" in named, self.positioned, self.dated or "persisted_at" in named)

    def counter(self) -> Counting:
        """Return what counts the rows over a connection of its own."""
        return Counting(self.again())

    def read(self, array: str, sink: Sink) -> None:
        """Give what a source holds to a sink."""
        try:
            give(self._rows(self.sources[array]), array, sink)
        finally:
            self.close()

    def _rows(self, source: str) -> Iterator[Row]:
        for number, record in enumerate(self.records(source), 1):
            try:
                yield self.shape.row(record)
            except (ValueError, TypeError, KeyError, RecursionError):
                wanted = self.shape.pattern or "a JSON object with " + " and ".join(
                    self.shape.named[name] for name in _IDS
                )
                raise CollectError(
                    f"persisted.{source}: {self.place(source, number)} is not {wanted}: "
                    f"{_shown(record[0])}"
                ) from None


def _parsed(text: bytes) -> Mapping[str, object]:
    fields = json.loads(text, parse_int=_digits)
    if not isinstance(fields, dict):
        raise TypeError("no object")
    return fields


def _digits(text: str) -> int:
    # Python refuses to read numbers of thousands of digits.
    return int(text) if len(text) <= _MOST_DIGITS else FOREIGN


def _field(fields: Mapping[str, object], name: str) -> object:
    value: Any = fields
    for part in (name,) if name in fields else name.split("."):
        value = value[part]
    return value


def _field_or_none(fields: Mapping[str, object], name: str | None) -> object:
    try:
        return None if name is None else _field(fields, name)
    except (KeyError, TypeError):
        return None


def _digest(payload: object) -> int:
    """Return the hash of a payload; of one that is missing none that a payload has."""
    if isinstance(payload, bytes):
        payload = payload.decode("utf-8", "replace")
    return payload_hash(payload) if isinstance(payload, str) else FOREIGN


def _shown(record: bytes | Mapping[str, object]) -> str:
    text = repr(record)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


__all__ = ["UNDATED", "Record", "RecordStore", "Shape"]
