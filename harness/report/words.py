"""Numbers and moments as people read them."""

from __future__ import annotations

import math


def count(number: float | None) -> str:
    """Return a count with its thousands apart; a dash where there is none."""
    if number is None or not math.isfinite(number):
        return "–"
    return f"{number:,.0f}"


def percent(part: float, whole: float) -> str:
    """Return a share in per cent, with as many digits as tell it from 0 and from all."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if share in {0, 100}:
        return f"{share:.0f} %"
    digits = 1 if 0.1 <= share <= 99.9 else 3
    return f"{share:.{digits}f} %"


def seconds(value: float | None) -> str:
    """Return seconds with the digits that matter."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"


def milliseconds(value: float | None) -> str:
    """Return milliseconds with the digits that matter."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def proof_cost(seconds_spent: float, share: float) -> str:
    """Return what the proof of the ledger cost a run."""
    return f"{milliseconds(1000 * seconds_spent)}, {percent(share, 1)} of the run's time"


def rate(value: float | None) -> str:
    """Return events per second."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.1f}/s" if value < 100 else f"{value:,.0f}/s"


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
