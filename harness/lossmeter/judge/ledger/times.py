"""When the events of a run were due, sent, answered and persisted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from lossmeter.judge.ledger.ascending import Ascending, Keep, Numbers, Sliced, Span, in_memory
from lossmeter.judge.ledger.layout import Layout
from lossmeter.model import Status
from lossmeter.record.arrays import Operations, Records, of_each


class Times:
    """The times of a run's events, taken a part of the events at a time; ns since the epoch.

    Attributes:
        due_ns: when the first and the last event was due.
        sent_ns, lag_ns: one number for each event; the lag is sent minus due.
        acked_ns, latency_ns: one for each ack; the latency is counted from the time at which
            the event was due, so a stall of the target counts in full.
        persisted_ns: one for each row; None where the times of rows are not measured.
        keep: where numbers lie that are not needed all at once.
        first_refusal_ns: when the first refusal came; None without one.
        first_refused_due_ns: when the first event was due that was refused.
        last_answer_ns: when the last answer of any kind came.
    """

    def __init__(self, keep: Keep = in_memory) -> None:
        self.keep = keep
        self.due_ns = Span()
        self.sent_ns = Ascending(keep)
        self.lag_ns = Ascending(keep)
        self.acked_ns = Ascending(keep)
        self.latency_ns = Ascending(keep)
        self.persisted_ns: Ascending | None = None
        self._acks: list[tuple[Sliced, Sliced]] = []
        self.first_refusal_ns: int | None = None
        self.first_refused_due_ns: int | None = None
        self.last_answer_ns: int | None = None

    @classmethod
    def of(cls, operations: Operations, rows: Records | None = None) -> Self:
        """Return the times of all events of a run."""
        times = cls()
        times.add(operations, rows)
        return times

    def add(
        self, operations: Operations, rows: Records | None = None, laid: Layout | None = None
    ) -> None:
        """Take the events of some producers; ``laid`` where their places are known."""
        intents, outcomes = operations.intents, operations.outcomes
        self.due_ns.add(intents["scheduled_ns"])
        self.sent_ns.add(intents["sent_ns"])
        self.lag_ns.add(intents["sent_ns"] - intents["scheduled_ns"])
        if rows is not None:
            if self.persisted_ns is None:
                self.persisted_ns = Ascending(self.keep)
            self.persisted_ns.add(rows["persisted_ns"])
        if not len(outcomes):
            return
        self.last_answer_ns = _later(self.last_answer_ns, int(outcomes["done_ns"].max()))
        if laid is None:
            due_ns = of_each(intents, "scheduled_ns", outcomes)
        else:
            due_ns = laid.of_each_outcome("scheduled_ns")
        acked = outcomes["status"] == Status.ACKED
        if acked.any():
            acked_ns, acked_due_ns = outcomes["done_ns"][acked], due_ns[acked]
            latency_ns = acked_ns - acked_due_ns
            self.acked_ns.add(acked_ns)
            self.latency_ns.add(latency_ns)
            self._acks.append((self.keep(acked_due_ns), self.keep(latency_ns)))
        refused = outcomes["status"] == Status.REFUSED
        if refused.any():
            first_ns = int(outcomes["done_ns"][refused].min())
            self.first_refusal_ns = _earlier(self.first_refusal_ns, first_ns)
            first_due_ns = int(due_ns[refused].min())
            self.first_refused_due_ns = _earlier(self.first_refused_due_ns, first_due_ns)

    def acks(self) -> Iterator[tuple[Numbers, Numbers]]:
        """Yield due times and latencies of the acked events, those of some at a time."""
        return ((due_ns[:], latency_ns[:]) for due_ns, latency_ns in self._acks)


def _earlier(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def _later(one: int | None, other: int) -> int:
    return other if one is None else max(one, other)
