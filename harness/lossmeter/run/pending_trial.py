"""Whether the events that wait in a broker are found there, tried while a run goes on.

A key that does not exist holds nothing, and a pattern that does not fit finds nobody. So what a
broker is said to hold means something only once an event that waited was found by its id.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, Self

from lossmeter.errors import UsageError
from lossmeter.model import plural
from lossmeter.plan.target import Target
from lossmeter.record.facts import Facts
from lossmeter.world.interpolation import interpolate, reachable
from lossmeter.world.queues import PendingIds, queue_options
from lossmeter.world.queues._held import Seen
from lossmeter.world.site import Endpoint

EVERY_S = 0.1
# Looks take no more of the broker's time than this.
_SHARE = 0.05
# One look may come between two events; and what waits for as long as this is no accident.
_GOOD_WHILE_S = 1.0


class Waiting(Protocol):
    """Where something is seen to wait."""

    def waits_since(self) -> float | None:
        """Return since when something has waited without a break; None where nothing does."""


class PendingTrial:
    """Looks for the events whenever a queue's length says that some wait, until one was found.

    Args:
        ids: reads them, over a connection of its own.
        queue: whose length says that some wait.

    Attributes:
        seen: what the looks have shown.
        missed_s: for how long on end some waited while no look found any.
    """

    def __init__(
        self, ids: PendingIds, queue: Waiting, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seen = Seen()
        self.missed_s = 0.0
        self._ids, self._queue, self._clock = ids, queue, clock
        self._stretch: tuple[float, float] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._try, name="pending-trial", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(2)

    def _try(self) -> None:
        wait_s = EVERY_S
        try:
            # The connection is there by the time that something waits, be it for a moment only.
            with suppress(UsageError):
                self._ids()
            while not self.seen.named and not self._over.wait(wait_s):
                begun = self._clock()
                self.look()
                wait_s = max(EVERY_S, (self._clock() - begun) / _SHARE)
        finally:
            self._ids.close()

    def look(self) -> None:
        """Look once, if some wait."""
        since = self._queue.waits_since()
        if since is None:
            return
        begun = self._clock()
        try:
            held = self._ids()
        except UsageError:
            # It worked at the trial: what it reads is away for now.
            held = None
        # What waited before the look and waits no more may have gone before it.
        if held is None or self._queue.waits_since() != since:
            return
        self.seen.add(held)
        if self._stretch is None or self._stretch[0] != since:
            self._stretch = since, begun
        if not len(held):
            self.missed_s = max(self.missed_s, begun - self._stretch[1])


def pending_trial(
    target: Target, endpoints: Mapping[str, Endpoint], queue: Waiting
) -> PendingTrial | None:
    """Return what tries whether a target's waiting events are found; None where it cannot be tried.

    Raises:
        UsageError: they cannot be read as the target file says.
    """
    if target.queue is None:
        return None
    values = reachable(endpoints, proxied=False)
    ids = queue_options(target.name, target.queue).ids(
        lambda text: interpolate(text, values, target.name)
    )
    if ids is None or not ids.leaves_no_trace:
        return None
    return PendingTrial(ids, queue)


def note_pending(facts: Facts, seen: Seen, missed_s: float, queue_doubt: str | None) -> None:
    """Note in the facts whether what the broker was said to hold is what it held.

    Args:
        facts: of the run.
        seen: what all looks have shown.
        missed_s: for how long on end some waited while no look found any.
        queue_doubt: why the queue itself may be another one; None where nothing speaks for it.
    """
    facts.pending_named = seen.named
    facts.pending_doubt = "" if seen.named else _doubt(seen, missed_s, queue_doubt)


def _doubt(seen: Seen, missed_s: float, queue_doubt: str | None) -> str:
    if seen.nameless:
        what = plural(seen.nameless, "message", "messages")
        return (
            f"[queue.pending] read {what} and found no event's id in any: its pattern, pointer or "
            "encoding is not that of what the broker holds"
        )
    if missed_s >= _GOOD_WHILE_S:
        return (
            f"[queue.pending] found no event, although for {missed_s:.1f} s on end [queue] said "
            "that some wait: it names another place than the one where they are"
        )
    if queue_doubt is not None and not seen.some:
        return f"[queue.pending] found no event, and {queue_doubt}"
    return ""
