"""What a kill loses and duplicates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lossmeter.experiment import Observed
from lossmeter.model import Predicted, plural

# After the last look at the target events still come and go: beside the time until the fault
# there are the answer's way and the signal's.
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class AtKill:
    """What is known of a target at the moment it is killed.

    Attributes:
        queue_length, in_flight: its own last word; None where it does not tell. What waits
            for a retry is in flight, so that may be more than there are workers.
        workers: how many it has; None when unknown.
        blind_s: seconds between that word and the kill.
        acked: how many events were acked in those seconds, by the producers' journals.
    """

    queue_length: int | None
    in_flight: int | None
    rate_per_s: float
    workers: int | None
    blind_s: float
    acked: int = 0

    @property
    def passing(self) -> int:
        """Return how many events may have come in unseen; producers that were late hurry."""
        return max(self.acked, math.ceil(self.rate_per_s * (self.blind_s + LOOK_S)))

    @property
    def most_in_hand(self) -> int | None:
        """Return how many events it may have had in hand; None when not known."""
        return max((n for n in (self.workers, self.in_flight) if n is not None), default=None)


def at_kill(seen: Observed) -> AtKill:
    """Return what an observed run tells of its target at the fault."""
    workers = seen.settings.get("workers")
    return AtKill(
        queue_length=seen.queue_length,
        in_flight=seen.in_flight,
        rate_per_s=seen.rate_per_s,
        workers=None if workers is None else int(workers),
        blind_s=seen.blind_s,
        acked=seen.acked_unseen,
    )


def crash(at: AtKill, queue_survives: bool | None, in_hand_survives: bool | None) -> Predicted:
    """Predict what a kill loses and duplicates.

    Args:
        at: the target at the kill.
        queue_survives: what is queued outlives the process; None when unknown.
        in_hand_survives: so does what workers hold, and it is delivered again.
    """
    if queue_survives is None or in_hand_survives is None:
        return Predicted(basis="the target file does not say what survives a crash")
    hands = at.workers if at.workers is not None else at.in_flight
    most = at.most_in_hand
    if queue_survives and in_hand_survives:
        return Predicted(
            lost=0,
            duplicated_max=most,
            basis=f"queue and hands outlive the process; up to {most} in hand may be duplicated",
        )
    if queue_survives:
        return _in_hand_only(at, hands)
    if at.queue_length is None:
        return Predicted(basis="the target does not tell its queue length")
    in_hand = 0 if in_hand_survives else at.in_flight or 0
    passing = at.passing
    return Predicted(
        lost=at.queue_length + in_hand,
        lost_tolerance=(hands or 0) + passing,
        tolerance_reason=(
            f"{hands or 0} in the workers' hands may just have been persisted, and up to "
            f"{plural(passing, 'event')} came in between the last look and the kill"
        ),
        duplicated_max=most if in_hand_survives else 0,
        basis=f"{at.queue_length:,} queued and {in_hand:,} in hand at the last look",
    )


def _in_hand_only(at: AtKill, hands: int | None) -> Predicted:
    if hands is None:
        return Predicted(basis="the target file does not say how many workers there are")
    in_hand = at.in_flight if at.in_flight is not None else hands
    return Predicted(
        lost=in_hand,
        lost_tolerance=hands,
        tolerance_reason="each worker may just have persisted what it holds, or just taken one",
        duplicated_max=0,
        basis=f"the queue outlives the process, the {in_hand} in hand at the last look do not",
    )
