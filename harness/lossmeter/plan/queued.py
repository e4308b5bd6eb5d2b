"""What a target's ``[queue]`` says whatever its kind: when its broker gives an event again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REDELIVERED = "redelivered_after_s"
PENDING = "pending"


def redelivered_after_s(queue: Mapping[str, Any] | None) -> float | None:
    """Return after how many seconds a broker gives to another what one did not finish.

    That is its visibility time-out, its session, or the interval in which it is reclaimed; None
    where the table does not say.
    """
    after_s = (queue or {}).get(REDELIVERED)
    return None if after_s is None else float(after_s)


def check_in_time(queue: Mapping[str, Any] | None, quiet_s: float, limit_s: float) -> None:
    """Make sure that what is given again comes while a run waits for it.

    Raises:
        ValueError: it does not, or is no number of seconds.
    """
    after_s = (queue or {}).get(REDELIVERED)
    if after_s is None:
        return
    if isinstance(after_s, bool) or not isinstance(after_s, int | float) or after_s < 0:
        raise ValueError(f"queue.{REDELIVERED} is {after_s!r}; right are seconds, 0 or more")
    if after_s + quiet_s >= limit_s:
        raise ValueError(
            f"queue.{REDELIVERED} = {after_s:g} is not over within persisted.settle_limit_s = "
            f"{limit_s:g}: what comes then would be called lost; raise the limit, or have the "
            "broker give events again sooner"
        )
