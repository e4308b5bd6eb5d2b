"""The open schedule: which event is due when, fixed by the seed before anything starts.

An event's identity and payload depend on its place in the schedule alone, never on which
connection happens to carry it; so the same seed sends the same events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple


class Due(NamedTuple):
    """One event of the schedule.

    Attributes:
        producer, sequence: its identity; sequences of a producer are 0, 1, 2, ...
        due_ns: nanoseconds after the start of the load.
    """

    producer: int
    sequence: int
    due_ns: int


def schedule(
    phases: list[tuple[float, float]], producers: int, shard: int = 0, shards: int = 1
) -> Iterator[Due]:
    """Yield the events of one load process in the order in which they are due.

    Phases are pairs of rate in events per second and duration in seconds; shard k mints the
    ids ``k * producers`` and up.
    """
    begin_ns = 0.0
    place = 0
    for rate_per_s, duration_s in phases:
        events = round(rate_per_s * duration_s)
        for step in range((shard - place) % shards, events, shards):
            mine = (place + step) // shards
            due_ns = int(begin_ns + step * 1e9 / rate_per_s)
            yield Due(shard * producers + mine % producers, mine // producers, due_ns)
        place += events
        begin_ns += duration_s * 1e9


def payload(seed: int, producer: int, sequence: int, length: int) -> str:
    """Return the event's payload: ``length`` hexadecimal characters."""
    block = hashlib.blake2b(f"{seed}:{producer}:{sequence}".encode()).hexdigest()
    return (block * (length // len(block) + 1))[:length]
