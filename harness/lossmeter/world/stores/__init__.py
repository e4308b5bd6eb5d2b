"""Where persisted events are read, around every proxy; one file a kind, found by looking.

A kind's file defines ``Options``, the model of the table ``[persisted]`` without what all
kinds share, with ``open(interpolate) -> Store``. ``{run_folder}`` in a text is the folder of
that name as the harness sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lossmeter.plan.kinds import Interpolate, parse
from lossmeter.record.arrays import Records
from lossmeter.world import stores

Sink = Callable[[Records], None]
"""Gets a part of what is read, as an array that is used again."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is known of each row besides its id."""

    payload_hash: bool
    position: bool
    persisted_at: bool


class Counter(Protocol):
    """Counts what is persisted, over a connection that stays open."""

    def __call__(self) -> int | None:
        """Return how many rows there are now; None while the store does not say."""

    def close(self) -> None:
        """Close the connection; the next count opens another."""


class Store(Protocol):
    """Reads what one target persisted.

    Attributes:
        sources: the options that say where each array of ``record.collected`` is read, by the
            array's name; ``rows`` is always among them.
    """

    sources: Mapping[str, str]

    def check(self) -> Columns:
        """Try everything that will be read, before any load is sent.

        Raises:
            UsageError: the store cannot be reached, or what is asked of it is wrong.
        """

    def count(self, array: str) -> int:
        """Return how many entries an array would have now.

        Raises:
            CollectError: the store is away, or does not say.
        """

    def counter(self) -> Counter:
        """Return what counts the rows often and at little cost."""

    def read(self, array: str, sink: Sink) -> None:
        """Read all entries of an array in the order in which the store has them.

        Args:
            array: its name; ``rows`` are given as dtype ROW, others as PAIR.
            sink: gets them, a part at a time.

        Raises:
            CollectError: the store is away, died, or holds what cannot be read.
        """

    def absent(self) -> str:
        """Return what does not exist, in words, where that looks as if it were empty."""


class StoreOptions(Protocol):
    """The checked table ``[persisted]`` of a target."""

    def open(self, interpolate: Interpolate) -> Store:
        """Return what reads the store; nothing is connected yet.

        Raises:
            UsageError: it cannot be read as asked.
        """


def store_options(target: str, table: Mapping[str, Any]) -> StoreOptions:
    """Return the checked options of a target's ``[persisted]``.

    Raises:
        UsageError: the kind does not exist, or does not take these options.
    """
    options: StoreOptions = parse(stores, "persisted", target, table)
    return options
