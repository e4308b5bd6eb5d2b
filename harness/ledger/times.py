"""When the events of a run were due, sent, answered and persisted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from harness.ledger.ascending import Ascending, Keep, Numbers, Sliced, in_memory
from harness.ledger.records import Records, Told, of_each
from harness.model import Status


class Times:
    """The times of a run's events, taken a part of the events at a time; ns since the epoch.

    Attributes:
        due_ns, sent_ns, lag_ns: one number for each event; the lag is sent minus due.
        acked_ns, latency_ns: one for each yes; the latency is counted from the time at which
            the event was due, so a stall of the target counts in full.
        persisted_ns: one for each row.
        keep: where numbers lie that are not needed all at once.
        first_refusal_ns: when the first no came; None without one.
        first_refused_due_ns: when the first event was due that was refused.
        last_answer_ns: when the last answer of any kind came.
    """

    def __init__(self, keep: Keep = in_memory) -> None:
        self.keep = keep
        self.due_ns = Ascending(keep)
        self.sent_ns = Ascending(keep)
        self.lag_ns = Ascending(keep)
        self.acked_ns = Ascending(keep)
        self.latency_ns = Ascending(keep)
        self.persisted_ns = Ascending(keep)
        self._yeses: list[tuple[Sliced, Sliced]] = []
        self.first_refusal_ns: int | None = None
        self.first_refused_due_ns: int | None = None
        self.last_answer_ns: int | None = None

    @classmethod
    def of(cls, told: Told, rows: Records | None = None) -> Self:
        """Return the times of all events of a run."""
        times = cls()
        times.add(told, rows)
        return times

    def add(self, told: Told, rows: Records | None = None) -> None:
        """Take the events of some producers.

        Args:
            told: intents and outcomes.
            rows: what was persisted of them; None where that is not known.
        """
        intents, outcomes = told.intents, told.outcomes
        self.due_ns.add(intents["scheduled_ns"])
        self.sent_ns.add(intents["sent_ns"])
        self.lag_ns.add(intents["sent_ns"] - intents["scheduled_ns"])
        if rows is not None:
            self.persisted_ns.add(rows["persisted_ns"])
        if not len(outcomes):
            return
        self.last_answer_ns = _later(self.last_answer_ns, int(outcomes["done_ns"].max()))
        due_ns = of_each(intents, "scheduled_ns", outcomes)
        acked = outcomes["status"] == Status.ACKED
        if acked.any():
            latency_ns = outcomes["done_ns"][acked] - due_ns[acked]
            self.acked_ns.add(outcomes["done_ns"][acked])
            self.latency_ns.add(latency_ns)
            self._yeses.append((self.keep(due_ns[acked]), self.keep(latency_ns)))
        refused = outcomes["status"] == Status.REFUSED
        if refused.any():
            first_ns = int(outcomes["done_ns"][refused].min())
            self.first_refusal_ns = _earlier(self.first_refusal_ns, first_ns)
            first_due_ns = int(due_ns[refused].min())
            self.first_refused_due_ns = _earlier(self.first_refused_due_ns, first_due_ns)

    def yeses(self) -> Iterator[tuple[Numbers, Numbers]]:
        """Yield due times and latencies of the acked events, those of some at a time."""
        return ((due_ns[:], latency_ns[:]) for due_ns, latency_ns in self._yeses)


def _earlier(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def _later(one: int | None, other: int) -> int:
    return other if one is None else max(one, other)
