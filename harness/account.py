"""What became of the events of a run, drawn up from its folder in memory that does not grow.

The judge and the reports both start from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.facts import Facts
from harness.ledger.reconcile import merge, reconcile_from
from harness.ledger.records import Ledger, Records, Told, keys, of_each
from harness.ledger.selfproof import Sample
from harness.ledger.times import Times
from harness.load.reading import Heads
from harness.model import Counts
from harness.parts import open_parts


@dataclass(frozen=True, slots=True)
class Account:
    """A run, event by event in its class; good as long as it is open.

    Attributes:
        heads: what its journals say as a whole.
        collected: what was persisted is known; without it the ledger says only what
            producers were told.
        ledger: every event in its class.
        times: of its events.
        told_of_lost: what the producers of the lost events were told of these.
        sample: on which the ledger proves itself.
        judged_at_once: events of the largest part.
    """

    heads: Heads
    collected: bool
    ledger: Ledger
    times: Times
    told_of_lost: Told
    sample: Sample
    judged_at_once: int

    @property
    def lost_sent_ns(self) -> npt.NDArray[np.int64]:
        """Return when each lost event was sent, in the ledger's order."""
        return of_each(self.told_of_lost.intents, "sent_ns", self.ledger.lost)


@contextmanager
def open_account(folder: Path, facts: Facts, *, collected: bool) -> Iterator[Account]:
    """Reconcile a run; what is yielded is good until the end of the ``with``.

    Args:
        folder: of the run.
        facts: of the run.
        collected: read what was persisted, too.

    Raises:
        LoadError, LedgerError: the journals are damaged, or contradict themselves.
        OSError, ValueError: what was collected is missing or damaged.
    """
    with open_parts(
        folder,
        collected=collected,
        hashes=facts.hashes_measured,
        positions=facts.positions_measured,
    ) as parts:
        times = Times(parts.keep)
        sample = Sample(parts.heads.events, parts.producers)
        ledgers, intents, outcomes, largest = [], [], [], 0
        for part in parts:
            ledger = reconcile_from(part.first, part.told, part.held)
            times.add(part.told, part.held.rows if collected else None)
            sample.add(part.told, part.held)
            ledgers.append(ledger if collected else _told_only(ledger))
            intents.append(_of(part.told.intents, ledgers[-1].lost))
            outcomes.append(_of(part.told.outcomes, ledgers[-1].lost))
            largest = max(largest, len(part.told.intents))
        yield Account(
            heads=parts.heads,
            collected=collected,
            ledger=merge(ledgers),
            times=times,
            told_of_lost=Told(np.concatenate(intents), np.concatenate(outcomes)),
            sample=sample,
            judged_at_once=largest,
        )


def _of(records: Records, ids: Records) -> Records:
    """Return the records of some events."""
    chosen: Records = records[np.isin(keys(records), keys(ids))]
    return chosen


def _told_only(ledger: Ledger) -> Ledger:
    """Return what producers were told, with every class of rows void.

    Without rows every acked event would look lost; so none is judged at all.
    """
    seen = {name: getattr(ledger.counts, name) for name in ("sent", "acked", "refused", "unknown")}
    void = frozenset(Counts().as_dict()) - frozenset(seen)
    return replace(ledger, counts=Counts(**seen), not_measured=void, lost=ledger.lost[:0])
