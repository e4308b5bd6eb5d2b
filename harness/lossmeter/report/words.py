"""Numbers and moments as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from lossmeter.model import IDLE
from lossmeter.plan.predict.safe import Side, rounded

# As many as a double has.
_MOST_DIGITS = 15


def _fixed(value: float, digits: int, side: Side | None) -> str:
    return f"{value if side is None else rounded(value, digits, side):,.{digits}f}"


def count(number: float | None, side: Side | None = None) -> str:
    """Return a count with its thousands apart; a dash where there is none.

    Here and below ``side`` is to which it is rounded; to the nearest without.
    """
    if number is None or not math.isfinite(number):
        return "–"
    return _fixed(number, 0, side)


def percent(part: float, whole: float) -> str:
    """Return a share in per cent, with as many digits as tell it from 0 and from all."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if share in {0, 100}:
        return f"{share:.0f} %"
    digits = 1 if 0.1 <= share <= 99.9 else 3
    while float(f"{share:.{digits}f}") in {0, 100} and digits < _MOST_DIGITS:
        digits += 1
    return f"{share:.{digits}f} %"


def seconds(value: float | None, side: Side | None = None) -> str:
    """Return seconds with the digits that matter."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{_fixed(value, 2 if value < 10 else 1 if value < 100 else 0, side)} s"


def figure(value: float | None) -> str:
    """Return a number with three digits that matter, or all of those before the point."""
    if value is None or not math.isfinite(value):
        return "–"
    whole = float(value).is_integer() or abs(value) >= 1000
    return f"{value:,.0f}" if whole else f"{value:.3g}"


def milliseconds(value: float | None, side: Side | None = None) -> str:
    """Return milliseconds with the digits that matter."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{_fixed(value, 1 if value < 100 else 0, side)} ms"


def proof_cost(seconds_spent: float, share: float) -> str:
    """Return what the proof of the ledger cost a run."""
    return f"{milliseconds(1000 * seconds_spent)}, {percent(share, 1)} of the run's time"


def minutes(value_s: float) -> str:
    """Return a length of time, from a minute on in minutes and seconds."""
    whole, rest = divmod(round(value_s), 60)
    return f"{whole} min {rest} s" if whole else f"{rest} s"


def cpus(used: Mapping[str, float]) -> str:
    """Return who used how many CPUs, e.g. ``target 0.81, postgres 0.42; 0.55 idle``."""
    busy = [f"{name} {number:.2f}" for name, number in used.items() if name != IDLE]
    return f"{', '.join(busy)}; {used.get(IDLE, 0.0):.2f} {IDLE}"


def rate(value: float | None, side: Side | None = None) -> str:
    """Return events per second."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{_fixed(value, 1 if value < 100 else 0, side)}/s"


_WITH_UNIT = re.compile(r"([\d.,]+)(\D*)")

_MEASURES = {
    "struck_s": "fault began",
    "held_s": "fault held",
    "held_per_s": "persisted during the fault",
    "outage_s": "longest time without an ack",
    "first_refused_due_s": "first refused event due",
    "dead_lettered": "dead-lettered",
}
_UNITS = {"_per_s": rate, "_ms": milliseconds, "_s": seconds}


def span(low: str, high: str) -> str:
    """Return a range of two numbers in words, with a unit that both have named once."""
    if low == high:
        return low
    first, last = _WITH_UNIT.fullmatch(low), _WITH_UNIT.fullmatch(high)
    alike = first is not None and last is not None and first[2] == last[2]
    return f"{first[1] if first is not None and alike else low}–{high}"


def measure_name(name: str) -> str:
    """Return a measure, or a class of the ledger, in words."""
    return _MEASURES.get(name) or _bare(name).replace("_", " ")


def measured(name: str, value: float | None, side: Side | None = None) -> str:
    """Return a measure's value with its unit, which its name ends in; events have none."""
    show = next((show for end, show in _UNITS.items() if name.endswith(end)), count)
    return show(value, side)


def _bare(name: str) -> str:
    return next((name.removesuffix(end) for end in _UNITS if name.endswith(end)), name)


MEANINGS = {
    "sent": "handed to the target by a producer",
    "acked": "confirmed by the target, at its declared level",
    "refused": "declined by the target, provably without an effect",
    "unknown": "neither acked nor refused: a time-out, a broken connection, no answer",
    "delivered": "acked and persisted",
    "lost": "acked, and not persisted anywhere",
    "dead_lettered": "acked, not persisted, and kept as a dead letter",
    "pending": "acked, not persisted yet, and held by the queue for a consumer that is there",
    "stranded": "acked, and held by the broker without an owner for longer than it promises",
    "late": "acked before a fault, and persisted no sooner than the broker gives it again",
    "recovered": "unknown to its producer, and persisted",
    "unresolved": "unknown to its producer, and not persisted: never counted as lost",
    "resurrected": "refused, and persisted all the same: always a violation",
    "unexpected": "rows of events that were never sent: always a violation",
    "duplicated": "events persisted more than once",
    "corrupted": "events persisted with another payload: always a violation",
    "reordered": "events persisted after a later event of their producer",
    "foreign": "dead letters and the like of ids that nobody minted: they cover no loss",
}
