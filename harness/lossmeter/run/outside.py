"""What is read of a target's queue from outside: how long it is, and which events it holds."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lossmeter.plan.catalogue import Cell
from lossmeter.record.facts import Facts
from lossmeter.run.pending_trial import PendingTrial, note_pending, pending_trial
from lossmeter.run.queue_watch import QueueWatch, doubt_of, queue_watch
from lossmeter.run.set_up import broker_of
from lossmeter.world.queues._held import HeldByBroker, Seen
from lossmeter.world.runtime import RunningSite


@dataclass(frozen=True, slots=True)
class Outside:
    """What reads a queue while a run goes on.

    Attributes:
        queue: reads its length; None where the target file does not say how.
        broker: reads which events it holds; None likewise.
        trial: tries whether these are found; None where that would leave a trace.
    """

    queue: QueueWatch | None = None
    broker: HeldByBroker | None = None
    trial: PendingTrial | None = None

    @property
    def never_held_any(self) -> bool:
        """Return whether the queue was empty at each look: it may be another one."""
        return self.queue is not None and not self.queue.most

    def seen(self) -> Seen:
        """Return what was ever seen of what the broker holds."""
        of_broker = Seen() if self.broker is None else self.broker.seen
        return of_broker if self.trial is None else of_broker | self.trial.seen

    def note(self, facts: Facts, folder: Path, workers: float | None) -> list[str]:
        """Note in the facts what was seen; return what speaks against it.

        Args:
            facts: of the run.
            folder: of the run, with its rows.
            workers: how many the target has; None where it is not known.
        """
        if self.queue is None:
            return []
        facts.queue_most = self.queue.most
        doubt = doubt_of(folder, facts, workers)
        if self.broker is not None:
            missed_s = 0.0 if self.trial is None else self.trial.missed_s
            note_pending(facts, self.seen(), missed_s, doubt)
        return [each for each in (doubt, facts.pending_doubt) if each]


def outside_of(cell: Cell, site: RunningSite, stack: ExitStack) -> Outside:
    """Return what reads a target's queue from outside until the stack is closed.

    Raises:
        UsageError: it cannot be read as the target file says.
    """
    queue = queue_watch(cell.target, site.endpoints)
    if queue is None:
        return Outside()
    stack.enter_context(queue)
    broker = broker_of(cell, site)
    if broker is None:
        return Outside(queue)
    stack.callback(broker.close)
    trial = pending_trial(cell.target, site.endpoints, queue)
    if trial is not None:
        stack.enter_context(trial)
    return Outside(queue, broker, trial)
