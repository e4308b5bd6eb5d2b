"""Waiting with a deadline, for all that is asked again and again until it is so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

EVERY_S = 0.05

T = TypeVar("T")


def wait_for(ask: Callable[[], T], within_s: float, every_s: float = EVERY_S) -> T:
    """Ask until the answer is true or time is up; return the last answer.

    Args:
        ask: asked at least once; may raise in order to give up.
        within_s: seconds; an answer that takes longer still counts.
        every_s: seconds between an answer and the next question.
    """
    deadline = time.monotonic() + within_s
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(every_s)
    return answer
