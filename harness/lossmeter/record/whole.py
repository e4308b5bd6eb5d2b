"""Whole numbers from outside: in one place, so that all who read ids take the same for one."""

from __future__ import annotations

import math
import re
from decimal import Decimal

# What stands for an id that is missing, or no whole number, or one of more than 64 bits: it
# cannot be one that was sent.
FOREIGN = -1

_BOUND = 1 << 63
# Digits of other scripts and underscores, which Python reads as well, are in no id that was sent.
_DIGITS = re.compile(r" *[+-]?[0-9]{1,18} *", re.ASCII)
_DIGITS_64 = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)


def whole(value: object) -> int:
    """Return a whole number of 64 bits as it is, also in digits; FOREIGN for all else."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value) else FOREIGN
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return FOREIGN
    # Compared with NaN, a Decimal raises; a whole number of hundreds of digits is no float.
    finite = isinstance(value, int) or (
        value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    )
    if not finite or not -_BOUND <= value < _BOUND:
        return FOREIGN
    return int(value) if value == int(value) else FOREIGN


def signed(value: object) -> int:
    """Return the same of a hash, which some stores only have as a number without a sign."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str) and _DIGITS_64.fullmatch(value):
        value = int(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return FOREIGN
    if isinstance(value, int | Decimal) and _BOUND <= value < 2 * _BOUND:
        value -= 2 * _BOUND
    return whole(value)
