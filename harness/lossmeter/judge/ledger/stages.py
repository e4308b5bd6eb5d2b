"""What each lost event died of, from the marks that its dispatcher left. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from lossmeter.judge.ledger.classes import Ledger
from lossmeter.model import Status
from lossmeter.record.arrays import Operations, Records, keys, of_each
from lossmeter.record.mark_format import EVERY, Marks, Stage

LOST = np.dtype(
    [
        ("producer", "<u4"),
        ("sequence", "<u8"),
        ("sent_ns", "<i8"),
        ("acked_ns", "<i8"),
        ("marked_ns", "<i8"),
        ("died", "u1"),
        ("when", "u1"),
    ]
)


class When(IntEnum):
    """When a lost event was under way, against the fault."""

    NO_FAULT = 0
    BEFORE = 1
    ACROSS = 2
    DURING = 3
    AFTER = 4

    @property
    def words(self) -> str:
        """Return it as people say it."""
        return _WHEN[self]


_WHEN = {
    When.NO_FAULT: "without a fault",
    When.BEFORE: "acked before the fault",
    When.ACROSS: "sent before, acked after the fault",
    When.DURING: "sent while the fault held",
    When.AFTER: "sent after the fault",
}


_QUEUED = (Stage.QUEUED, Stage.REQUEUED)
_IN_MEMORY = (Stage.ACCEPTED, Stage.TAKEN, Stage.HANDLING, Stage.RETRYING)


def last_marks(marks: Records) -> Records:
    """Return for each event the mark that says how far it came, ordered by id.

    A worker may have taken an event before the queue's answer came back, so the marks of being
    accepted and queued count only for an event that has no other.
    """
    chosen = marks[marks["producer"] != EVERY[0]]
    first = np.isin(chosen["stage"], (Stage.ACCEPTED, Stage.QUEUED))
    # Stable, and lifetimes are in order: the last of each id is the latest.
    order = np.lexsort((np.arange(len(chosen)), ~first, keys(chosen)))
    ordered = chosen[order]
    ids = keys(ordered)
    last = np.append(ids[1:] != ids[:-1], True) if len(ids) else np.empty(0, bool)
    latest: Records = ordered[last]
    return latest


def died_of(lost: Records, marks: Marks) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return for each lost event the stage that it was lost at, and its last mark's time or 0."""
    died = np.full(len(lost), Stage.UNMARKED, np.uint8)
    at_ns = np.zeros(len(lost), np.int64)
    last = last_marks(marks.records)
    if not len(last) or not len(lost):
        return died, at_ns
    place = np.minimum(np.searchsorted(keys(last), keys(lost)), len(last) - 1)
    found = keys(last)[place] == keys(lost)
    mark = last[place[found]]
    of = mark["stage"].copy()
    survives = np.array([each.survives for each in marks.lifetimes], bool)[mark["life"]]
    queued = np.isin(of, _QUEUED)
    given_up = np.zeros(len(marks.lifetimes), bool)
    given_up[marks.records["life"][marks.records["stage"] == Stage.ABANDONED]] = True
    in_memory = np.isin(of, _IN_MEMORY) | (queued & ~survives)
    of[queued & survives] = Stage.IN_BROKER
    of[in_memory & given_up[mark["life"]]] = Stage.ABANDONED
    died[found], at_ns[found] = of, mark["at_ns"]
    return died, at_ns


def when_lost(
    sent_ns: npt.NDArray[np.int64],
    acked_ns: npt.NDArray[np.int64],
    fault: tuple[int, int | None] | None,
) -> npt.NDArray[np.uint8]:
    """Place events by time against a fault.

    Args:
        sent_ns: when the events were sent, wall clock.
        acked_ns: when they were acked.
        fault: when it struck and when it was healed, None while it was not; None without.
    """
    if fault is None:
        return np.full(len(sent_ns), When.NO_FAULT, np.uint8)
    struck_ns, healed_ns = fault
    after = np.zeros(len(sent_ns), bool) if healed_ns is None else sent_ns > healed_ns
    when = np.where(after, When.AFTER, When.DURING)
    when = np.where(sent_ns <= struck_ns, When.ACROSS, when)
    return np.where(acked_ns <= struck_ns, When.BEFORE, when).astype(np.uint8)


def lost_events(
    operations: Operations, ledger: Ledger, marks: Marks, fault: tuple[int, int | None] | None
) -> Records:
    """Return each lost event with its times and what it died of, dtype LOST."""
    lost = np.zeros(len(ledger.lost), LOST)
    if not len(lost):
        return lost
    for name in ("producer", "sequence"):
        lost[name] = ledger.lost[name]
    lost["sent_ns"] = of_each(operations.intents, "sent_ns", ledger.lost)
    acked = operations.outcomes[operations.outcomes["status"] == Status.ACKED]
    lost["acked_ns"] = of_each(acked, "done_ns", ledger.lost)
    lost["died"], lost["marked_ns"] = died_of(ledger.lost, marks)
    lost["when"] = when_lost(lost["sent_ns"], lost["acked_ns"], fault)
    return lost


def by_stage(lost: Records) -> dict[str, int]:
    """Return how many events died of what; none without a mark, so a gap shows in the sum."""
    marked = lost["died"][lost["died"] != Stage.UNMARKED]
    return _counted(marked, {stage: stage.words for stage in Stage})


def by_time(lost: Records) -> dict[str, int]:
    """Return how many events were lost when."""
    return _counted(lost["when"], {when: when.words for when in When})


def _counted(values: npt.NDArray[np.uint8], words: Mapping[int, str]) -> dict[str, int]:
    counted = Counter(dict.fromkeys(words.values(), 0))
    for number, times in enumerate(np.bincount(values).tolist()):
        counted[words[number]] += times
    return {word: times for word, times in counted.items() if times}
