"""What a loss of power costs: memory, and whatever was acknowledged before it was flushed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lossmeter.model import Predicted
from lossmeter.plan.predict.crash import AtKill, crash

# Redis flushes each second, and later while the disk is still busy with a flush
# (redis.io, "Redis persistence").
EVERYSEC_S = 1.0
SLOW_FLUSH_S = 0.3
# PostgreSQL without synchronous commit: three times wal_writer_delay, which is 200 ms
# (its manual, "Asynchronous Commit").
ASYNC_COMMIT_S = 0.6
# Between the first and the last process killed on one machine.
KILLING_S = 0.3


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that lost power, with all that ran on it.

    Attributes:
        at: the dispatcher when it was hit.
        service_rate_per_s: events per second that its workers persist.
        queue_survives, in_hand_survives: of a crash of the dispatcher alone.
    """

    at: AtKill
    service_rate_per_s: float
    queue_survives: bool | None
    in_hand_survives: bool | None
    services: tuple[str, ...]
    choices: Mapping[str, str]


def power_loss(machine: Machine) -> Predicted:
    """Predict what is lost and what is duplicated."""
    alone = crash(machine.at, machine.queue_survives, machine.in_hand_survives)
    if alone.lost is None or machine.at.queue_length is None:
        return alone
    least, most, repeated, basis = _broker(machine, alone)
    if machine.choices.get("postgres.synchronous_commit") == "off":
        most += math.ceil(ASYNC_COMMIT_S * machine.service_rate_per_s)
        basis += f"; rows of the last {ASYNC_COMMIT_S:g} s were committed and not flushed"
    lost = (least + most) // 2
    return Predicted(
        lost=lost,
        lost_tolerance=max(most - lost, lost - least),
        tolerance_reason=(
            f"from {least} to {most}: when the last flush was is chance, and for up to "
            f"{KILLING_S:g} s some processes lived on while others were dead"
        ),
        duplicated_max=repeated,
        basis=basis,
    )


def _broker(machine: Machine, alone: Predicted) -> tuple[int, int, int, str]:
    """Return the least and most lost, the most repeated, and why."""
    queued = machine.at.queue_length or 0
    hands = machine.at.workers or 0
    passing = machine.at.passing + math.ceil(machine.at.rate_per_s * KILLING_S)
    window_s = _unflushed_s(machine)
    if not machine.queue_survives:
        lost = alone.lost or 0
        return max(0, lost - hands - passing), lost + passing, 0, alone.basis
    if window_s is None:
        # Nothing of the queue was ever flushed; what was persisted is safe in the database.
        return (
            max(0, queued - passing),
            queued + hands + passing,
            0,
            f"{queued} queued and up to {hands} in hand, none of it flushed by the broker",
        )
    fresh = min(queued + hands + passing, math.ceil(window_s * machine.at.rate_per_s))
    in_hand = 0 if machine.in_hand_survives else hands
    repeated = math.ceil(window_s * machine.service_rate_per_s) + hands
    basis = f"the broker flushes what is at most {window_s:g} s old"
    return 0, fresh + in_hand, repeated, basis


def _unflushed_s(machine: Machine) -> float | None:
    """Return how old an acknowledged event may be and not be flushed; None for any age."""
    if "redis" in machine.services:
        policy = machine.choices.get("redis.appendfsync", "everysec")
        windows = {"always": 0.0, "everysec": EVERYSEC_S + SLOW_FLUSH_S}
        return windows.get(policy)
    if machine.choices.get("kafka.log.flush.interval.messages") == "1":
        return 0.0
    return None
