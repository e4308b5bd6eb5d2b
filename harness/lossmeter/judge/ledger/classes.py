"""Every event in its class: what comes out of the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from lossmeter.model import Counts, plural
from lossmeter.record.arrays import Records


@dataclass(frozen=True, slots=True)
class Dating:
    """How the times that rows bear agree with the times of their events.

    Attributes:
        rows: of events that were sent.
        undated: of these, rows without a time, or with an infinite one.
        early: dated before their event was sent.
        late: dated after they had been collected.
        off_ns: the most by which one is too early or too late.
    """

    rows: int = 0
    undated: int = 0
    early: int = 0
    late: int = 0
    off_ns: int = 0

    def __add__(self, other: Dating) -> Dating:
        """Return both together."""
        return Dating(
            self.rows + other.rows,
            self.undated + other.undated,
            self.early + other.early,
            self.late + other.late,
            max(self.off_ns, other.off_ns),
        )

    @property
    def problem(self) -> str:
        """Return why the times cannot be trusted, as a sentence; empty where they can."""
        wrong = (
            (self.undated, "without a time, or with an infinite one"),
            (self.early, "dated before the event was sent"),
            (self.late, "dated after the collection"),
        )
        of = plural(self.rows, "row")
        parts = [f"{number:,} of {of} {what}" for number, what in wrong if number]
        if self.off_ns:
            parts[-1] += (
                f", by up to {self.off_ns / 1e9:,.3f} s (by another clock, or in another time "
                "zone: a time without a zone is read as UTC)"
            )
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every event in its class.

    Attributes:
        counts: events per class (``unexpected``: rows).
        not_measured: classes of which the rows tell nothing; their counts are 0 and void.
        lost, stranded, late, duplicated, corrupted, reordered, resurrected: ids, dtype PAIR.
        late_by_ns: the most by which a late event came after its ack; 0 without any.
        unexpected: rows that were never sent, dtype ROW.
        dating: how the times of the other rows agree with those of their events.
        extra_rows: rows beyond the first of each event.
        lost_prefix, lost_middle, lost_suffix: lost events before the first, between, and
            after the last delivered one of their producer.
    """

    counts: Counts
    not_measured: frozenset[str]
    lost: Records
    stranded: Records
    late: Records
    late_by_ns: int
    duplicated: Records
    corrupted: Records
    reordered: Records
    resurrected: Records
    unexpected: Records
    dating: Dating
    extra_rows: int
    lost_prefix: int
    lost_middle: int
    lost_suffix: int
