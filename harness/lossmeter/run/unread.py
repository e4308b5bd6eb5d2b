"""What a target or its broker holds and does not say any more: for how long that is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from lossmeter.plan.catalogue import Cell
from lossmeter.run.outside import Outside
from lossmeter.run.probe import HealthProbe, Unreadable

# As long as a busy target may be silent; one that works longer on an event may be so for longer.
SILENT_S = 15.0


class Unread:
    """Gives up a wait for what cannot be read, in the words of who answered instead.

    Args:
        ask: returns why it cannot be read now; None where it can.
        holds: says whether a fault is active, which may be why.
        within_s: what may pass by itself has so long to do so.
    """

    def __init__(
        self,
        ask: Callable[[], Unreadable | None],
        holds: Callable[[], bool],
        within_s: float = SILENT_S,
    ) -> None:
        self._ask, self._holds, self._within_s = ask, holds, within_s
        self._since: float | None = None

    def __call__(self) -> str:
        """Return why waiting is in vain; empty while it is not."""
        found = None if self._holds() else self._ask()
        if found is None:
            self._since = None
            return ""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        waited_s = now - self._since
        if found.for_good:
            return found.why
        return f"{found.why}, for {waited_s:.0f} s on end" if waited_s >= self._within_s else ""


def why_unread(cell: Cell, probe: HealthProbe, outside: Outside) -> Unreadable | None:
    """Return why it is not known now what a target holds; None where it is, or never was."""
    if outside.queue is not None and outside.queue.last() is None:
        why = outside.queue.problem or "queue: nothing answers where its length is to be read"
        return Unreadable(why, for_good=False)
    if outside.broker is not None and outside.broker.look() is None:
        return Unreadable("queue.pending: nothing answers where it is to be read", for_good=False)
    if cell.target.http.state is None or probe.runs is not None:
        return None
    sample = probe.last()
    if sample is not None and sample.ok and sample.queue_length is not None:
        return None
    return probe.unreadable()
