"""Persisted events are taken out of the store, which makes a loss of a known number.

Any store will do whose events can be removed by a command of the target's file. One that notices
that entries are missing, as streams and topics do, is not read at all then.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Parameters, now
from lossmeter.model import Evidence
from lossmeter.world.site import RowsRemovable, Site

_WITHIN_S = 30.0
_AGAIN_S = 0.5


class Some(Parameters):
    """How many events."""

    count: Annotated[int, Field(ge=1, le=100_000, description="1 to 100000 events")]


class RemoveRows(Fault[Some]):
    """Removes so many of the events that are persisted, spread over all of them.

    Evidence: how the command ended, and what the store holds afterwards.
    """

    takes = Some
    needs = (RowsRemovable,)

    def inject(self, site: Site) -> list[Evidence]:
        """Wait until there are as many, remove them, and read the store again."""
        store, count = self.capable(site, RowsRemovable), self.asked.count
        before = self._enough(store)
        chosen = [before[number * len(before) // count] for number in range(count)]
        removed = store.remove_persisted(chosen)
        left = len(set(chosen) & set(store.persisted_ids()))
        return [
            now("remove-command", f"it removed {count:,} events", removed.said, removed.done),
            now(
                "store",
                f"of {count:,} events that it held, it holds none",
                f"{left:,} of {count:,} are there",
                left == 0,
            ),
        ]

    def _enough(self, store: RowsRemovable) -> Sequence[tuple[int, int]]:
        deadline = time.monotonic() + _WITHIN_S
        while len(found := store.persisted_ids()) < self.asked.count:
            if time.monotonic() >= deadline:
                raise FaultError(
                    f"remove-rows: {len(found):,} events were persisted within {_WITHIN_S:g} s, "
                    f"and {self.asked.count:,} are to be removed"
                )
            time.sleep(_AGAIN_S)
        return found
