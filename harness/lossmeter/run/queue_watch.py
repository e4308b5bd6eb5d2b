"""Reads a queue's length from outside while a run goes on, apart from the health probe.

A broker that does not answer must not keep the probe from looking at the target.

A key that does not exist looks like a queue that is empty, so a reading says something only once
it has been more than 0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from lossmeter.errors import UsageError
from lossmeter.model import plural
from lossmeter.plan.target import Target
from lossmeter.record.facts import Facts
from lossmeter.record.unpersisted import Unpersisted
from lossmeter.world.beginnings import Beginning, KnowsBeginning
from lossmeter.world.interpolation import interpolate, reachable
from lossmeter.world.queues import QueueLength, queue_options
from lossmeter.world.site import Endpoint

EVERY_S = 0.02
# A reading that is older says nothing of now.
STALE_S = 1.0
# Events between an ack and their row that no worker has: not a moment on their way.
_GOOD_WHILE_S = 1.0
# All their times are in memory at once.
_MOST_EVENTS = 1 << 20


class QueueWatch:
    """The last reading of one queue.

    Attributes:
        most: the longest that it was seen.
        problem: why it could not be read at the last look; empty where nothing answered.
    """

    def __init__(self, length: QueueLength) -> None:
        self.most = 0
        self.problem = ""
        self._length = length
        self._last: tuple[float, int] | None = None
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="queue-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(2 * STALE_S)

    def last(self) -> int | None:
        """Return how many events waited at the last reading; None where that is too long ago."""
        if self._last is None or time.monotonic() - self._last[0] > STALE_S:
            return None
        return self._last[1]

    def began(self) -> Beginning | None:
        """Ask the server since when it serves; None where it does not say."""
        return self._length.began() if isinstance(self._length, KnowsBeginning) else None

    def waits_since(self) -> float | None:
        """Return since when it held some at each look; None where it does not."""
        return self._since if self.last() else None

    def _watch(self) -> None:
        try:
            while not self._over.wait(EVERY_S):
                try:
                    number = self._length()
                    self.problem = ""
                except UsageError as error:
                    # It worked at the trial: what it reads is away for now.
                    number, self.problem = None, str(error)
                if not number:
                    self._since = None
                elif self._since is None:
                    self._since = time.monotonic()
                if number is not None:
                    self._last = time.monotonic(), number
                    self.most = max(self.most, number)
        finally:
            self._length.close()


def queue_watch(target: Target, endpoints: Mapping[str, Endpoint]) -> QueueWatch | None:
    """Return what reads a target's queue from outside, tried once; None where nothing does.

    Raises:
        UsageError: it cannot be read as the target file says.
    """
    if target.queue is None:
        return None
    values = reachable(endpoints, proxied=False)
    length = queue_options(target.name, target.queue).open(
        lambda text: interpolate(text, values, target.name)
    )
    try:
        known = length()
    except UsageError as error:
        length.close()
        raise UsageError(f"target {target.name}: {error}") from None
    if known is None:
        length.close()
        raise UsageError(
            f"target {target.name}: queue: nothing answers where its length is to be read"
        )
    return QueueWatch(length)


def doubt_of(folder: Path, facts: Facts, workers: float | None) -> str | None:
    """Return why a queue may not be the one that was read; None where nothing speaks for it.

    Args:
        folder: of the run, with its rows.
        facts: of the run.
        workers: how many the target has; None where it is not known.
    """
    if facts.queue_most != 0 or workers is None or facts.events_planned > _MOST_EVENTS:
        return None
    for_s = Unpersisted.of(folder).longest_s(int(workers))
    if for_s < _GOOD_WHILE_S:
        return None
    return (
        f"[queue] was empty at each look, although for {for_s:.1f} s on end more events had been "
        f"acked and were not persisted than {plural(int(workers), 'worker has', 'workers have')} "
        "in hand: it names another queue, or workers take more than they do at once"
    )
