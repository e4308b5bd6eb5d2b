"""What happens when the broker is killed and comes back, or cannot be reached for a while."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lossmeter.model import Expected, Predicted, plural
from lossmeter.plan.predict.safe import figure

# A call that hangs is given up after so long, and those that wait behind it as well.
GIVES_UP_S = 5.0
RECONNECTS_S = 2.0


@dataclass(frozen=True, slots=True)
class Away:
    """A broker that was away.

    Attributes:
        held_s: seconds that it was away; None when not known.
        killed: its process was killed; else it only could not be reached.
        queue_length: what was queued in it; None where the target does not tell.
        in_hand_survives: what workers hold is delivered again.
        choices: settings of the broker and of its clients.
    """

    broker: str
    held_s: float | None
    killed: bool
    queue_length: int | None
    in_hand_survives: bool
    workers: int
    rate_per_s: float
    choices: Mapping[str, str]


def away(seen: Away) -> Predicted:
    """Predict what an absence of the broker loses and repeats, and how long nobody acks."""
    lost, tolerance, reason = _loss(seen)
    return Predicted(
        lost=lost,
        lost_tolerance=tolerance,
        tolerance_reason=reason,
        # A commit or an acknowledgement that the broker did not keep repeats what was in hand.
        duplicated_max=seen.workers,
        basis=(
            f"{seen.broker} was {'killed' if seen.killed else 'cut off'}"
            + (f" for {seen.held_s:.1f} s" if seen.held_s is not None else "")
        ),
        figures=_outage(seen),
    )


def _loss(seen: Away) -> tuple[int | None, int, str]:
    if seen.killed and seen.choices.get("redis.appendonly") == "no" and seen.broker == "redis":
        lost = seen.queue_length
        passing = math.ceil(seen.rate_per_s * 0.05)
        return (
            lost,
            seen.workers + passing,
            (
                "without an append-only file the queue is in its memory; up to "
                f"{plural(passing, 'event')} came and {seen.workers} went after the last look"
            ),
        )
    if seen.choices.get("acks") == "0":
        passing = math.ceil(seen.rate_per_s * RECONNECTS_S)
        return (
            0,
            passing,
            (
                f"without acknowledgements all that is sent is taken for kept, up to {passing} "
                "events until the client sees the connection broken"
            ),
        )
    if not seen.in_hand_survives:
        return 0, seen.workers, "each worker may have popped one whose answer never came"
    return 0, 0, ""


def _outage(seen: Away) -> tuple[Expected, ...]:
    if seen.held_s is None or seen.choices.get("acks") == "0":
        return ()
    late_s = RECONNECTS_S if seen.killed else GIVES_UP_S
    reason = f"after its return the client may need up to {late_s:g} s to notice it"
    return (figure("outage_s", seen.held_s, late_s, 3, reason),)
