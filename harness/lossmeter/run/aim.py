"""Aims at the steps on an event's way, by the marks that the target leaves as it goes.

| step | an event is at it when |
|---|---|
| accepted | it was read, and is not queued yet |
| enqueued | the queue has it, and its producer has no answer yet |
| acked | its producer got its ack, and no worker has it yet |
| dequeued | a worker has it, and its insert is not confirmed |
| inserted | its insert was confirmed, and the queue does not know |
| committed | its end was acknowledged to the queue, just now |

Most steps last for less than a look takes. So the target is frozen when an event comes to
the step, and looked at again: only if the event is still there it is hit, frozen as it is.
A step that is over before its mark can be read is hit by chance: the target is frozen again
and again, whatever is seen, until it stands still with an event there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lossmeter.errors import LedgerError
from lossmeter.experiment import STEPS
from lossmeter.model import Status
from lossmeter.record.journals import JournalTail
from lossmeter.record.mark_format import EVERY, Stage
from lossmeter.record.marks import MarkFile, mark_files
from lossmeter.world.site import Pausable, Site

Ident = tuple[int, int]

LOOK_EVERY_S = 0.0002
ANSWER_S = 0.02

# Nothing seen at a step for so long, though events go by: they pass faster than marks are read.
PATIENCE_S = 0.5

# Marks that may come late, after a worker's.
_FIRST = {Stage.ACCEPTED, Stage.QUEUED}


class Way:
    """Where each unfinished event is, read from marks and journals as they grow."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._files: dict[Path, MarkFile] = {}
        self._journal = JournalTail(run)
        self._at: dict[Ident, Stage] = {}
        self._acked: set[Ident] = set()
        self._committed: list[Ident] = []
        self.passed = 0

    def look(self) -> None:
        """Read what is new; ``passed`` counts the events that were accepted so far."""
        self._committed = []
        # The journal comes last: what was acked was marked as queued before.
        for path in mark_files(self._run):
            if path not in self._files:
                self._files[path] = MarkFile(path)
        for file in self._files.values():
            for sequence, _, producer, stage in file.new().tolist():
                if producer != EVERY[0]:
                    self._note((producer, sequence), Stage(stage))
        for ident, status in self._journal.new():
            if status == Status.ACKED:
                self._acked.add(ident)

    def at(self, step: str) -> list[Ident]:
        """Return the events that are at a step now."""
        if step == "committed":
            return list(self._committed)
        if step == "acked":
            queued = [i for i, s in self._at.items() if s.step == "enqueued"]
            return [ident for ident in queued if ident in self._acked]
        there = [ident for ident, stage in self._at.items() if stage.step == step]
        return [i for i in there if i not in self._acked] if step == "enqueued" else there

    def close(self) -> None:
        """Close what was opened."""
        for file in self._files.values():
            file.close()
        self._journal.close()

    def _note(self, ident: Ident, stage: Stage) -> None:
        if stage is Stage.ACCEPTED:
            self.passed += 1
        known = self._at.get(ident)
        if known is not None and stage in _FIRST and known not in _FIRST:
            return
        if stage is Stage.ACKNOWLEDGED:
            self._committed.append(ident)
        if stage is Stage.ACKNOWLEDGED or stage.step is None:
            self._at.pop(ident, None)
        else:
            self._at[ident] = stage


@dataclass(frozen=True, slots=True)
class Aim:
    """How aiming went.

    Attributes:
        hit: the events that were at the step when the target was hit, or about to be.
        looks: how often it was frozen for it.
    """

    hit: tuple[Ident, ...]
    looks: int


def aim(
    site: Site, step: str, after: int, going_on: Callable[[], bool], limit_s: float
) -> Aim | None:
    """Wait until events are at a step, and freeze the target with them there.

    Returns:
        What was hit; None when no event was seen at the step in time.

    Raises:
        LedgerError: the step does not exist, or the marks cannot be read.
    """
    if step not in STEPS:
        raise LedgerError(f"step {step!r} does not exist; known are {', '.join(STEPS)}")
    way = Way(site.folder)
    try:
        return _aim(site, way, step, after, going_on, limit_s)
    finally:
        way.close()


def _aim(  # noqa: PLR0913, PLR0917 - the same as its caller, and the way
    site: Site, way: Way, step: str, after: int, going_on: Callable[[], bool], limit_s: float
) -> Aim | None:
    begin = asked = seen_at = time.monotonic()
    looks = 0
    while (now := time.monotonic()) - begin < limit_s:
        if now - asked > 0.1:
            asked = now
            if not going_on():
                return None
        way.look()
        ripe = way.passed > after
        seen = way.at(step) if ripe else []
        if seen or not ripe:
            seen_at = now
        by_chance = isinstance(site, Pausable) and now - seen_at > PATIENCE_S
        if not seen and not by_chance:
            time.sleep(LOOK_EVERY_S)
            continue
        looks += 1
        if not isinstance(site, Pausable):
            return Aim(tuple(seen), looks)
        site.pause()
        kept = seen if step == "committed" else _still(way, step)
        if kept:
            return Aim(tuple(kept), looks)
        site.resume()
        if by_chance:
            # So long, or a little longer, for it to be somewhere else at the next look.
            time.sleep(LOOK_EVERY_S)
    return None


def _still(way: Way, step: str) -> list[Ident]:
    """Return the events at the step, now that nothing moves any more."""
    if step == "enqueued":
        # An ack may be on its way to the producer's journal.
        time.sleep(ANSWER_S)
    way.look()
    return way.at(step)
