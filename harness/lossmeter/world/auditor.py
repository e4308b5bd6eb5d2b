"""Reads what a target persisted, around every proxy, into arrays on the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lossmeter.errors import CollectError, UsageError
from lossmeter.model import plural
from lossmeter.plan.kinds import Interpolate
from lossmeter.plan.target import Persisted
from lossmeter.record import npy
from lossmeter.record.arrays import Records
from lossmeter.record.collected import DTYPES
from lossmeter.world.beginnings import Beginning, KnowsBeginning
from lossmeter.world.queues._held import HeldByBroker
from lossmeter.world.stores import Columns, Counter, Store, store_options
from lossmeter.world.stores._letters import read_letters

ROWS, DEAD_LETTERED = "rows", "dead_lettered"
OF_BROKER = ("pending", "stranded")

# Where a target does not tell what it holds, silence must last longer to mean anything.
BLIND_QUIET_S = 5.0
# A connection that breaks once says little of a store that has answered all the time.
COUNTS, COUNT_AGAIN_S = 4, 0.3


class Auditor:
    """Reads one target's store.

    Args:
        store: reads it.
        persisted: what all kinds of store share.
        handler_time_s: how long the target may work on one event before a row comes.
        folder: what the target knows as ``{run_folder}``.
        broker: what its broker holds, where that can be read.
    """

    def __init__(
        self,
        store: Store,
        persisted: Persisted,
        handler_time_s: float = 0.0,
        folder: Path | None = None,
        broker: HeldByBroker | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._persisted = persisted
        self._folder = folder
        self._blind_s = blind_s(handler_time_s)
        self._seen = False

    def check(self) -> Columns:
        """Return what is known of each row, before any load is sent.

        Raises:
            UsageError: the store cannot be reached, or what is asked of it is wrong.
        """
        return self._store.check()

    def counter(self) -> Counter:
        """Return what counts the rows often and at little cost."""
        return self._store.counter()

    def began(self) -> Beginning | None:
        """Ask the store's server since when it serves; None where it does not say."""
        return self._store.began() if isinstance(self._store, KnowsBeginning) else None

    def check_empty(self) -> None:
        """Make sure that no row of an earlier run can stand in for one of this run.

        Raises:
            UsageError: store or broker hold some before any event was sent.
        """
        if self._broker is not None:
            self._broker.check_empty()
        for array, name in self._store.sources.items():
            if rows := self._store.count(array):
                raise UsageError(
                    f"persisted.{name} returns {plural(rows, 'row')} before any event was sent; "
                    "empty what it reads, or have it return the rows of one run only"
                )

    def count(self) -> int:
        """Return how many rows are persisted now."""
        rows = self._store.count(ROWS)
        self._seen |= rows > 0
        return rows

    def save(self, folder: Path) -> None:
        """Read all that is persisted into a run's folder, where ``Collected.load`` finds it.

        A part of it is in memory at a time.

        Raises:
            CollectError: the store died, cannot be read, or never held what was asked for;
                or the disk is full.
        """
        try:
            for array, dtype in DTYPES.items():
                with npy.Growing(folder / f"{array}.npy", dtype) as growing:
                    self._save(array, growing)
        except OSError as error:
            # What is still in a buffer is written when its file is closed.
            where = error.filename or folder
            raise CollectError(f"{where} cannot be written: {error.strerror}") from error

    def _save(self, array: str, growing: npy.Growing) -> None:
        def keep(part: Records) -> None:
            self._seen |= array == ROWS
            try:
                growing.add(part)
            except OSError as error:
                # Not to be taken for one of the connection.
                raise CollectError(f"{growing.path} cannot be written: {error.strerror}") from None

        if array in self._store.sources:
            self._store.read(array, keep)
        if array in OF_BROKER and self._broker is not None:
            growing.add(getattr(self._broker.collect(), array))
        if array == ROWS and not self._seen and (absent := self._store.absent()):
            # Were it called empty, a name that is wrong would look like a loss of everything.
            raise CollectError(f"persisted.{self._store.sources[ROWS]}: {absent}")
        name = self._persisted.dead_letter_file
        if array != DEAD_LETTERED or not name or self._folder is None:
            return
        if os.path.lexists(self._folder / name):
            growing.add(read_letters(self._folder / name))

    def settle(
        self,
        drained: Callable[[], bool | None],
        check: Callable[[], None],
        in_vain: Callable[[], str] = str,
    ) -> tuple[bool, str]:
        """Wait until the target says it is empty and no new row has come for ``quiet_s``.

        Args:
            drained: True or False by the target's own word; None when it does not say.
            check: called at every look; raises when the run is over.
            in_vain: says why no wait will show whether the target is empty; or nothing.

        Returns:
            Whether reads settled, and what was seen.
        """
        begin = time.monotonic()
        rows, since = -1, begin
        while time.monotonic() - begin < self._persisted.settle_limit_s:
            check()
            now = self._count_again()
            if why := in_vain():
                return False, f"{why} ({plural(now, 'row')})"
            empty, left = self._empty(drained())
            if now != rows or empty is False:
                rows, since = now, time.monotonic()
            elif time.monotonic() - since >= (quiet_s := self._quiet_s(empty)):
                word = "queue empty" if empty else left or "target does not tell what it holds"
                return True, f"{word}, {plural(rows, 'row')} for {quiet_s:g} s"
            time.sleep(0.1)
        return False, (
            f"after {self._persisted.settle_limit_s:g} s rows still arrive or the queue is "
            f"not empty ({plural(rows, 'row')})"
        )

    def _count_again(self) -> int:
        """Return how many rows are persisted now, asking more than once where that fails."""
        for _ in range(COUNTS - 1):
            with suppress(CollectError):
                return self.count()
            time.sleep(COUNT_AGAIN_S)
        return self.count()

    def _empty(self, empty: bool | None) -> tuple[bool | None, str]:
        """Return whether nothing may come any more, and what is left in the broker for good."""
        if self._broker is None:
            return empty, ""
        left = self._broker.look()
        if left is None or left.may_come:
            return False, ""
        # What is left for good keeps a queue from being empty, whatever else it says.
        return (None, f"broker holds {left.words}") if left.words else (empty, "")

    def _quiet_s(self, empty: bool | None) -> float:
        """Return how long no row may come; longer where the target may hold some unseen."""
        return self._persisted.quiet_s if empty else max(self._persisted.quiet_s, self._blind_s)


def blind_s(handler_time_s: float) -> float:
    """Return how long silence must last to mean anything where nobody tells what is held."""
    return max(BLIND_QUIET_S, 2 * handler_time_s)


def auditor(  # noqa: PLR0913 - what it is made of
    target: str,
    persisted: Persisted,
    interpolate: Interpolate = str,
    *,
    handler_time_s: float = 0.0,
    folder: Path | None = None,
    broker: HeldByBroker | None = None,
) -> Auditor:
    """Return what reads a target's ``[persisted]``.

    Raises:
        UsageError: the kind of store does not exist, or cannot be read as asked.
    """
    store = store_options(target, persisted.table).open(interpolate)
    return Auditor(store, persisted, handler_time_s, folder, broker)
