"""Compares what was measured with the bounds of a budget.

What decides, the gravest first:

1. **error**: the instrument failed, so nothing that it says can be trusted.
2. **inconclusive**: the ledger itself has gaps, so even what looks like a lie of the target
   may be the gap.
3. **fail**: a violation. Events were persisted that were refused, never sent, or altered.
   The ledger proves it, and no budget, no other doubt and no bound that was not measured
   takes it back.
4. **inconclusive**: a doubt about the run, or a bound on what was not measured.
5. **fail**: a bound is broken.
6. **pass**.

Whatever decides, the reasons of the lower ranks are given after it; after an error only
violations, since what else is missing then comes from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossmeter.model import Counts, Judgement, Predicted, Verdict, plural
from lossmeter.plan.budget import PREDICTED, Budget

# What each bound is a bound on; void counts are 0, and must not look like a good result.
_MEASURED_BY = {
    "max_lost": "lost",
    "max_loss_ratio": "lost",
    "max_duplicated": "duplicated",
    "max_unresolved": "unresolved",
    "max_dead_lettered": "dead_lettered",
    "max_pending": "pending",
    "max_stranded": "stranded",
    "max_late": "late",
    "max_reordered": "reordered",
    "min_delivered": "delivered",
}

# With fewer events a run says nothing; of all other bounds the target itself decides.
_LEAST = ("min_sent", "min_acked")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a judgement rests on besides the counts.

    Attributes:
        errors: why the instrument itself failed.
        gaps: why the ledger itself is not whole.
        doubts: why the run says nothing about the target.
        not_measured: classes that were not measured.
        recovery_s: seconds until service was back; None when not measured.
        no_recovery: why not; empty where that is not known.
        predicted: what the model says; None where it says nothing.
        answers: how often each answer came that was no ack, in words.
        late_by_s: the most by which an event came late; None without a late one.
    """

    errors: Sequence[str] = ()
    gaps: Sequence[str] = ()
    doubts: Sequence[str] = ()
    not_measured: frozenset[str] = frozenset()
    recovery_s: float | None = None
    no_recovery: str = ""
    predicted: Predicted | None = None
    answers: str = ""
    late_by_s: float | None = None

    @property
    def late_by(self) -> str:
        """Return the most by which an event came late, in words."""
        return "" if self.late_by_s is None else f"up to {self.late_by_s:,.1f} s after the ack"


def judge(counts: Counts, budget: Budget | None, findings: Findings) -> Judgement:
    """Return the verdict with all its reasons, in the order above."""
    doubts = [*findings.doubts, *_doubts(counts, budget, findings)]
    ranks: tuple[tuple[Verdict, Sequence[str]], ...] = (
        (Verdict.ERROR, findings.errors),
        (Verdict.INCONCLUSIVE, findings.gaps),
        (Verdict.FAIL, _violations(counts)),
        (Verdict.INCONCLUSIVE, doubts),
        (Verdict.FAIL, _breaches(counts, budget, findings) if budget else []),
    )
    if findings.errors:
        # What was not done since then is no reason of its own.
        ranks = (ranks[0], ranks[2])
    reasons = tuple(reason for _, because in ranks for reason in because)
    for verdict, because in ranks:
        if because:
            return Judgement(verdict, "; ".join(reasons), reasons)
    return Judgement(Verdict.PASS, f"within budget: {_within(counts, findings)}")


def _doubts(counts: Counts, budget: Budget | None, findings: Findings) -> list[str]:
    doubts = []
    if counts.sent == 0:
        doubts.append("nothing was sent")
    elif counts.acked == 0:
        why = f" ({findings.answers})" if findings.answers else ""
        doubts.append(f"nothing was acked, so nothing could be lost{why}")
    if budget is None or budget.empty:
        return [*doubts, "no budget says what this run may cost"]
    if budget.min_sent is not None and counts.sent < budget.min_sent:
        sent = plural(counts.sent, "event was sent", "events were sent")
        doubts.append(f"only {sent}, min_sent is {budget.min_sent:,}")
    if budget.min_acked is not None and counts.acked < budget.min_acked:
        acked = plural(counts.acked, "event was acked", "events were acked")
        doubts.append(f"only {acked}, min_acked is {budget.min_acked:,}")
    if budget.recovery_s_max is not None and not _is_seen(findings.recovery_s):
        why = f": {findings.no_recovery}" if findings.no_recovery else ""
        doubts.append(f"recovery_s_max is set, and recovery was never seen{why}")
    if budget.max_lost == PREDICTED and _most_lost(budget, findings.predicted) is None:
        doubts.append("max_lost is what is predicted, and no loss is predicted for this target")
    for bound, name in _MEASURED_BY.items():
        if getattr(budget, bound) is not None and name in findings.not_measured:
            doubts.append(f"{bound} is set, and {name} was never measured")
    return doubts


def _is_seen(recovery_s: float | None) -> bool:
    """Return whether a recovery was measured; NaN is no measurement, and never above a bound."""
    return recovery_s is not None and math.isfinite(recovery_s)


def _violations(counts: Counts) -> list[str]:
    kinds = (
        (counts.resurrected, "refused event was persisted", "refused events were persisted"),
        (
            counts.unexpected,
            "row was persisted that nobody sent",
            "rows were persisted that nobody sent",
        ),
        (
            counts.corrupted,
            "event was persisted with another payload",
            "events were persisted with another payload",
        ),
    )
    return [plural(number, one, many) for number, one, many in kinds if number]


def _breaches(counts: Counts, budget: Budget, findings: Findings) -> list[str]:
    return [
        f"{reading.name} {_figure(reading.value or 0)}{_unit(reading)} is "
        f"{'below' if reading.least else 'above'} the budget of "
        f"{_figure(reading.bound)}{_unit(reading)}"
        f"{_because(reading, findings)}"
        for reading in readings(counts, budget, findings.recovery_s, findings.predicted)
        if reading.broken
        and reading.key not in _LEAST
        # What is never allowed unasked is a breach whatever was measured; others are doubts.
        and (
            _MEASURED_BY.get(reading.key) not in findings.not_measured
            or getattr(budget, reading.key) is None
        )
    ]


def _unit(reading: Reading) -> str:
    return " s" if reading.key == "recovery_s_max" else ""


def _figure(value: float) -> str:
    # All digits of a count: one lost event more than the budget must show.
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def _because(reading: Reading, findings: Findings) -> str:
    """Return which answers left events unresolved, or how late others came."""
    named = {"max_unresolved": findings.answers, "max_late": findings.late_by}.get(reading.key)
    return f" ({named})" if named else ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured beside its bound.

    Attributes:
        key: the bound's name in ``budgets.toml``.
        name: what is bounded, in words.
        value: None when it was not measured.
        bound: the most that it may be, or the least.
        least: it is the least.
    """

    key: str
    name: str
    value: float | None
    bound: float
    least: bool = False

    @property
    def broken(self) -> bool:
        """Return whether what was measured is outside of the bound."""
        if self.value is None:
            return False
        return self.value < self.bound if self.least else self.value > self.bound


def readings(
    counts: Counts,
    budget: Budget,
    recovery_s: float | None,
    predicted: Predicted | None = None,
) -> list[Reading]:
    """Return what each bound of a budget is compared with.

    A budget that does not mention lost, dead-lettered, pending or stranded events allows none. One
    that allows what is predicted is compared with the prediction and its tolerance, and left out
    where nothing is predicted.
    """
    ratio = counts.lost / counts.acked if counts.acked else None
    every: list[tuple[str, str, float | None, float | None]] = [
        ("max_lost", "lost", counts.lost, _most_lost(budget, predicted)),
        ("max_loss_ratio", "lost / acked", ratio, budget.max_loss_ratio),
        ("max_duplicated", "duplicated", counts.duplicated, budget.max_duplicated),
        ("max_unresolved", "unresolved", counts.unresolved, budget.max_unresolved),
        ("max_dead_lettered", "dead-lettered", counts.dead_lettered, budget.max_dead_lettered or 0),
        ("max_pending", "pending", counts.pending, budget.max_pending or 0),
        ("max_stranded", "stranded", counts.stranded, budget.max_stranded or 0),
        ("max_late", "delivered late", counts.late, budget.max_late),
        ("max_reordered", "reordered", counts.reordered, budget.max_reordered),
        ("recovery_s_max", "recovery", recovery_s, budget.recovery_s_max),
        ("min_sent", "sent", counts.sent, budget.min_sent),
        ("min_acked", "acked", counts.acked, budget.min_acked),
        ("min_delivered", "delivered", counts.delivered, budget.min_delivered),
    ]
    return [
        Reading(key, name, value, bound, least=key.startswith("min_"))
        for key, name, value, bound in every
        if bound is not None
    ]


def _most_lost(budget: Budget, predicted: Predicted | None) -> int | None:
    if budget.max_lost is None:
        return None if budget.empty or budget.max_loss_ratio is not None else 0
    if budget.max_lost != PREDICTED:
        return budget.max_lost
    if predicted is None or predicted.lost is None:
        return None
    return predicted.lost + predicted.lost_tolerance


def _within(counts: Counts, findings: Findings) -> str:
    kept = {
        "dead-lettered": counts.dead_lettered,
        "pending": counts.pending,
        "stranded": counts.stranded,
        f"delivered late, {findings.late_by}": counts.late,
    }
    also = "".join(f", {number:,} {name}" for name, number in kept.items() if number)
    lost = f"{counts.lost:,} of {counts.acked:,} acked events lost"
    return f"{lost}, {counts.duplicated:,} duplicated{also}"
