"""The figures of a run beside its classes: recovery, throughput, and prediction by measurement."""

from __future__ import annotations

from lossmeter.judge.account import Account
from lossmeter.judge.ledger import stats
from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.measures import MEASURES, Shown
from lossmeter.judge.ledger.stages import When
from lossmeter.model import Counts, Expected, Predicted
from lossmeter.record.arrays import Records
from lossmeter.record.facts import Facts
from lossmeter.record.result import Comparison

Span = tuple[int, int | None]


def first_fault(facts: Facts) -> Span | None:
    """Return when the first fault struck and when it was healed, ns; None without a fault."""
    spans = [(r.hit_ns, r.healed_ns) for r in facts.faults if r.hit_ns is not None]
    return min(spans, key=lambda span: span[0], default=None)


def fault_spans(facts: Facts) -> list[Span]:
    """Return from when until when faults held, ns; None as the end where one never healed.

    Faults that overlap are one span: from the first to strike until the last is healed.
    """
    spans: list[Span] = []
    held = [(r.hit_ns, r.healed_ns) for r in facts.faults if r.hit_ns is not None]
    for begin_ns, end_ns in sorted(held, key=lambda span: span[0]):
        last_ns = spans[-1][1] if spans else 0
        if spans and (last_ns is None or begin_ns <= last_ns):
            together = None if last_ns is None or end_ns is None else max(last_ns, end_ns)
            spans[-1] = spans[-1][0], together
        else:
            spans.append((begin_ns, end_ns))
    return spans


def recovery_s(facts: Facts, account: Account) -> tuple[float | None, str]:
    """Return the seconds from a strike until events are acked and persisted again.

    It is measured for every fault that was injected, whatever it was waiting for, and for
    faults that overlap from the first to strike; of several the longest counts. What struck
    before the first event was due counts from then. See ``stats.back_ns`` for when service
    is back.

    Returns:
        The seconds, or None and why they are not measured; "" where service never came back.
    """
    spans, times = fault_spans(facts), account.times
    if not spans:
        return None, "no fault was injected"
    if account.times_problem or times.persisted_ns is None:
        return None, account.times_problem
    took_ns = []
    for struck_ns, end_ns in spans:
        if end_ns is None:
            return None, "a fault was never healed"
        begin_ns = max(struck_ns, times.due_ns.first or 0)
        for instants, last_ns in (
            (times.acked_ns, times.sent_ns.last),
            (times.persisted_ns, times.acked_ns.last),
        ):
            if last_ns is None:
                continue
            again_ns = stats.back_ns(instants, begin_ns, end_ns, last_ns)
            if again_ns is None:
                return None, ""
            took_ns.append(again_ns - begin_ns)
    return (round(max(took_ns) / 1e9, 3), "") if took_ns else (None, "nothing was sent")


def persisted_per_s(account: Account) -> float | None:
    """Return the rows persisted per second; None where the rows bear no times to be trusted."""
    per_s = MEASURES["throughput_per_s"].read(Shown(account.times, account.ledger.counts))
    return None if per_s is None else round(per_s, 2)


def volatile_ms(fault: Span | None, lost: Records | None) -> float | None:
    """Return how long before the first fault the oldest lost event had been acked."""
    if fault is None or lost is None:
        return None
    before = lost["acked_ns"][lost["when"] == When.BEFORE]
    return round(float(fault[0] - before.min()) / 1e6, 1) if len(before) else None


def worst_case_ratio(counts: Counts) -> float | None:
    """Return (lost + unresolved) / sent: the loss if every unresolved event was accepted."""
    return round((counts.lost + counts.unresolved) / counts.sent, 6) if counts.sent else None


def prediction(predicted: Predicted | None, ledger: Ledger) -> tuple[int | None, bool | None]:
    """Return measured minus predicted loss, and whether the prediction holds."""
    if predicted is None or predicted.lost is None:
        return None, None
    difference = ledger.counts.lost - predicted.lost
    holds = abs(difference) <= predicted.lost_tolerance
    if predicted.duplicated_max is not None:
        holds &= ledger.counts.duplicated <= predicted.duplicated_max
    return difference, holds


def comparisons(facts: Facts, account: Account) -> list[Comparison]:
    """Return each further figure of the prediction beside the same measured."""
    if facts.predicted is None or not account.collected:
        return []
    shown = Shown(account.times, account.ledger.counts, first_fault(facts))
    void = account.ledger.not_measured
    return [_comparison(expected, shown, void) for expected in facts.predicted.figures]


def _comparison(expected: Expected, shown: Shown, not_measured: frozenset[str]) -> Comparison:
    if expected.name not in MEASURES:
        raise ValueError(f"the facts predict {expected.name!r}, which nobody measures")
    measure = MEASURES[expected.name]
    measured = None if expected.name in not_measured else measure.read(shown)
    difference = None if measured is None else measured - expected.value
    return Comparison(
        name=expected.name,
        unit=measure.unit,
        predicted=expected.value,
        measured=measured,
        difference=difference,
        tolerance=expected.tolerance,
        reason=expected.reason,
        holds=None if difference is None else abs(difference) <= expected.tolerance,
    )
