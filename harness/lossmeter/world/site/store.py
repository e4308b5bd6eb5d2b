"""What may be done to what the target persisted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lossmeter.world.site.seen import Removed


@runtime_checkable
class RowsRemovable(Protocol):
    """Persisted events can be taken out of the store by ``persisted.remove`` of the target file."""

    def persisted_ids(self) -> Sequence[tuple[int, int]]:
        """Return the events that the store holds now, each once and in order.

        Raises:
            CollectError: it cannot be read.
        """

    def remove_persisted(self, ids: Sequence[tuple[int, int]]) -> Removed:
        """Have the target file's command take events out, and return how it ended.

        Raises:
            FaultError: it cannot be started.
        """
