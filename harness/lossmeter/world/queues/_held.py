"""What a broker still holds of a run, told apart by how long nobody has had it in hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from lossmeter.errors import CollectError, UsageError
from lossmeter.model import plural
from lossmeter.record.arrays import PAIR, Records
from lossmeter.world.queues import PendingIds

EVERY_S = 0.5
# One look that is not answered says little: the broker may be busy.
_LOOKS, _AGAIN_S = 5, 0.3


@dataclass(slots=True)
class Seen:
    """What was ever seen of the events that a broker holds.

    Attributes:
        some: it held something, whatever that was.
        named: an event was found by its id.
        nameless: the most messages at one look that nobody had in hand and that bore no id.
    """

    some: bool = False
    named: bool = False
    nameless: int = 0

    def add(self, held: Records) -> None:
        """Take what was read at one look, dtype ENTRY."""
        minted = held["producer"] >= 0
        self.some |= len(held) > 0
        self.named |= bool(minted.any())
        self.nameless = max(self.nameless, int(np.count_nonzero(~minted & ~held["owned"])))

    def __or__(self, other: Self) -> Self:
        nameless = max(self.nameless, other.nameless)
        return type(self)(self.some or other.some, self.named or other.named, nameless)


@dataclass(frozen=True, slots=True)
class Left:
    """What a broker holds at one moment.

    Attributes:
        may_come: events that it may yet give to somebody within its promise.
        pending: dtype PAIR, with an owner, or not for longer than it promises.
        stranded: dtype PAIR, without an owner, and for longer.
    """

    may_come: int
    pending: Records
    stranded: Records

    @property
    def words(self) -> str:
        """Return what is left for good."""
        owned = len(self.pending)
        parts = [f"{len(self.stranded)} without an owner"] if len(self.stranded) else []
        return " and ".join([*parts, *([f"{owned} in hand"] if owned else [])])


class HeldByBroker:
    """Looks at what a broker holds, again and again.

    Args:
        ids: reads it.
        promised_s: after how long an event that nobody has in hand is given to somebody.
        clock: seconds.

    Attributes:
        seen: what its looks have shown so far.
    """

    def __init__(
        self, ids: PendingIds, promised_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ids = ids
        self._promised_s = promised_s
        self._clock = clock
        self.seen = Seen()
        self._since: dict[tuple[int, int], float] = {}
        self._last: tuple[float, Left | None] | None = None

    def check_empty(self) -> None:
        """Make sure that it can be read, and that nothing of an earlier run stands in it.

        Raises:
            UsageError: it cannot, or something does.
        """
        left = self._look_again()
        if left is None:
            raise UsageError("queue.pending: nothing answers where it is to be read")
        if held := len(left.pending) + len(left.stranded):
            raise UsageError(
                f"queue.pending returns {plural(held, 'event')} before any was sent; empty what "
                "it reads"
            )

    def look(self) -> Left | None:
        """Return what it holds now, or half a second ago; None while it does not say."""
        now = self._clock()
        if self._last is None or now - self._last[0] >= EVERY_S:
            held = self._ids()
            self._last = now, None if held is None else self._told_apart(held, now)
        return self._last[1]

    def _look_again(self) -> Left | None:
        """Return what it holds now; None if it does not say, each time that it is asked."""
        for look in range(_LOOKS):
            time.sleep(_AGAIN_S if look else 0)
            self._last = None
            if (left := self.look()) is not None:
                return left
        return None

    def collect(self) -> Left:
        """Return what it holds in the end.

        Raises:
            CollectError: it does not say.
        """
        left = self._look_again()
        if left is None:
            raise CollectError("what the broker holds cannot be read: it does not answer")
        return left

    def close(self) -> None:
        """Close the connection."""
        self._ids.close()

    def _told_apart(self, held: Records, now: float) -> Left:
        self.seen.add(held)
        ids = [(int(entry["producer"]), int(entry["sequence"])) for entry in held]
        # Where the broker does not say for how long, it is as long as it was seen there.
        self._since = {ident: self._since.get(ident, now) for ident in ids}
        seen_s = np.array([now - self._since[ident] for ident in ids], float)
        age_s = np.where(np.isnan(held["age_s"]), seen_s, held["age_s"])
        old = age_s > self._promised_s
        stranded = old & ~held["owned"]
        pairs = held[list(PAIR.names or ())].astype(PAIR)
        return Left(int(np.count_nonzero(~old)), pairs[~stranded], pairs[stranded])
