"""What became of the events of a run, computed from its folder in memory that does not grow.

The judge and the reports both start from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.layout import lay_out
from lossmeter.judge.ledger.reconcile import merge, reconcile_laid
from lossmeter.judge.ledger.selfproof import ProofSample
from lossmeter.judge.ledger.times import Times
from lossmeter.judge.parts import open_parts
from lossmeter.model import Counts, Status
from lossmeter.record.arrays import Operations, Records, of_each
from lossmeter.record.facts import Facts
from lossmeter.record.journals import Heads


@dataclass(frozen=True, slots=True)
class Account:
    """A run, event by event in its class; good as long as it is open.

    Attributes:
        heads: what its journals say as a whole.
        collected: what was persisted is known; without it the ledger says only what
            producers were given.
        ledger: every event in its class.
        times: of its events; those of rows only where every one of them can be true.
        told_of_lost: what the producers of the lost events were given of these.
        sample: on which the ledger proves itself.
        answers: how often each answer came that was no ack, by the journal's code.
    """

    heads: Heads
    collected: bool
    ledger: Ledger
    times: Times
    operations_of_lost: Operations
    sample: ProofSample
    answers: Mapping[int, int]

    @property
    def times_problem(self) -> str:
        """Return why the times of rows are not measured; empty where they are."""
        if self.ledger.dating.problem or not self.collected:
            return self.ledger.dating.problem or "what was persisted was not collected"
        if self.times.persisted_ns is None:
            return "the target's rows bear no times: no query or file gives persisted_at"
        return ""

    @property
    def lost_sent_ns(self) -> npt.NDArray[np.int64]:
        """Return when each lost event was sent, in the ledger's order."""
        return of_each(self.operations_of_lost.intents, "sent_ns", self.ledger.lost)


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
    dated = collected and facts.times_measured
    with open_parts(folder, facts, collected=collected) as parts:
        times = Times(parts.keep)
        sample = ProofSample(parts.heads.events, parts.producers)
        ledgers, lost = [], []
        answers: Counter[int] = Counter()
        for part in parts:
            laid = lay_out(part.operations, part.first)
            ledger = reconcile_laid(laid, part.held)
            times.add(part.operations, part.held.rows if dated else None, laid)
            sample.add(part.operations, part.held)
            answers.update(_not_acks(part.operations.outcomes))
            ledgers.append(ledger if collected else _operations_only(ledger))
            lost.append(laid.of(ledgers[-1].lost))
        ledger = merge(ledgers)
        if ledger.dating.problem:
            times.persisted_ns, ledger = None, _without_late(ledger)
        yield Account(
            heads=parts.heads,
            collected=collected,
            ledger=ledger,
            times=times,
            operations_of_lost=Operations(
                np.concatenate([each.intents for each in lost]),
                np.concatenate([each.outcomes for each in lost]),
            ),
            sample=sample,
            answers=answers,
        )


def _not_acks(outcomes: Records) -> dict[int, int]:
    """Return how often each answer came that was no ack."""
    others = outcomes["code"][outcomes["status"] != Status.ACKED]
    codes, counts = np.unique(others, return_counts=True)
    return dict(zip(codes.tolist(), counts.tolist(), strict=True))


def _without_late(ledger: Ledger) -> Ledger:
    """Return the same where the times of rows cannot be true, so that none can be late."""
    counts, void = replace(ledger.counts, late=0), ledger.not_measured | {"late"}
    return replace(ledger, counts=counts, not_measured=void, late=ledger.late[:0], late_by_ns=0)


def _operations_only(ledger: Ledger) -> Ledger:
    """Return the answers that producers got, with every class of rows void.

    Without rows every acked event would look lost; so none is judged at all.
    """
    seen = {name: getattr(ledger.counts, name) for name in ("sent", "acked", "refused", "unknown")}
    void = frozenset(Counts().as_dict()) - frozenset(seen)
    return replace(ledger, counts=Counts(**seen), not_measured=void, lost=ledger.lost[:0])
