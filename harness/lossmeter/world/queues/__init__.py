"""How long a dispatcher's queue is, and what it holds, read from outside; one file a kind.

A dispatcher that answers HTTP may report its own length; any other one is read where it
queues: in its broker, its table, or a page of metrics. A kind's file defines ``Options``
with ``open(interpolate) -> QueueLength``, and ``ids(interpolate) -> PendingIds | None`` for
the table ``pending``. What all kinds share, ``redelivered_after_s``, is the target's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lossmeter.plan.kinds import Interpolate, parse
from lossmeter.plan.queued import REDELIVERED
from lossmeter.record.arrays import Records
from lossmeter.world import queues


class QueueLength(Protocol):
    """Reads one queue, over a connection that stays open."""

    def __call__(self) -> int | None:
        """Return how many events wait now; None while it cannot be read."""

    def close(self) -> None:
        """Close the connection; the next reading opens another."""


class PendingIds(Protocol):
    """Reads which events a broker holds that are not done, over a connection that stays open.

    Attributes:
        leaves_no_trace: reading changes nothing, so it may be done while workers are at work.
    """

    leaves_no_trace: bool

    def __call__(self) -> Records | None:
        """Return them, dtype ENTRY of ``_ids``; None while they cannot be read.

        Raises:
            UsageError: they cannot be read as asked.
        """

    def close(self) -> None:
        """Close the connection; the next reading opens another."""


class QueueOptions(Protocol):
    """The checked table ``[queue]`` of a target."""

    def open(self, interpolate: Interpolate) -> QueueLength:
        """Return what reads the queue.

        Raises:
            UsageError: it cannot be read as asked.
        """

    def ids(self, interpolate: Interpolate) -> PendingIds | None:
        """Return what reads the events that are not done; None where it is not to be read."""


def queue_options(target: str, table: Mapping[str, Any]) -> QueueOptions:
    """Return the checked options of a target's ``[queue]``.

    Raises:
        UsageError: the kind does not exist, or does not take these options.
    """
    own = {name: value for name, value in table.items() if name != REDELIVERED}
    options: QueueOptions = parse(queues, "queue", target, own)
    return options
