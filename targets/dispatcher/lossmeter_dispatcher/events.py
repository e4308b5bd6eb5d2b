"""The event, and how it travels through queues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, TypeAdapter
from pydantic_core import from_json, to_json


@dataclass(frozen=True, slots=True)
class Event:
    """What a producer sends; the id ``(producer, sequence)`` travels unchanged.

    A plain dataclass, since one is made of every event that comes back from a broker; the
    bounds hold where a producer's words are read (``app``).
    """

    producer: Annotated[int, Field(ge=0, lt=2**31)]
    sequence: Annotated[int, Field(ge=0, lt=2**62)]
    key: Annotated[str, Field(max_length=256)] = ""
    payload: Annotated[str, Field(max_length=1_000_000)] = ""


# Reads an event, and raises pydantic's ValidationError where it is none.
EVENT = TypeAdapter(Event)
EVENTS = TypeAdapter(list[Event])


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event with the moment at which it was accepted.

    Attributes:
        event: as sent.
        accepted_at: seconds since the epoch; the process latency counts from here.
    """

    event: Event
    accepted_at: float

    def to_bytes(self) -> bytes:
        """Return the form in which brokers and files keep it."""
        event = self.event
        fields = [event.producer, event.sequence, event.key, event.payload, self.accepted_at]
        return to_json(fields)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` wrote."""
        producer, sequence, key, payload, accepted_at = from_json(data)
        return cls(Event(producer, sequence, key, payload), accepted_at)
