"""Figures of the model rounded to the safe side: it never promises more than it computed."""

from __future__ import annotations

import math
from typing import Literal

from lossmeter.model import Expected

Side = Literal["down", "up"]

# Who relies on these is safe with less: a rate that is managed, a time that is left. Of all
# others, what is lost, needed or takes long, with more.
_SAFE_WITH_LESS = {
    "throughput_per_s",
    "held_per_s",
    "struck_s",
    "first_refused_due_s",
    "first_refusal_s",
}
# A quotient such as 29 / 0.29 is a hair beside the number that it stands for.
_HAIR = 12


def side_of(name: str) -> Side:
    """Return to which side a measure is rounded."""
    return "down" if name in _SAFE_WITH_LESS else "up"


def rounded(value: float, digits: int, side: Side) -> float:
    """Return a number with so many digits after the point, no less safe than it was."""
    scale: int = 10**digits
    steps = float(f"{value * scale:.{_HAIR}g}")
    return (math.floor(steps) if side == "down" else math.ceil(steps)) / scale


def figure(name: str, value: float, tolerance: float, digits: int, reason: str) -> Expected:
    """Return an expected figure rounded to the safe side, and its tolerance rounded up."""
    kept = rounded(value, digits, side_of(name))
    return Expected(name, kept, rounded(tolerance, digits, "up"), reason)
