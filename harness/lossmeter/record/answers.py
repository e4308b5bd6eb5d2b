"""What an answer means: the one table that turns an outcome into a status.

Refused is an allow-list of outcomes that provably had no effect. Whatever is in neither
list is unknown: the event may have been accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum

from lossmeter.model import Status


class Reason(IntEnum):
    """Why there is no HTTP status; the numbers lie below those of HTTP."""

    CONNECTION_REFUSED = 1
    CONNECT_FAILED = 2
    CONNECTION_LOST = 3
    TIMED_OUT = 4
    MALFORMED = 5
    # What an ingress program answers.
    CONFIRMED = 6
    REJECTED = 7
    UNCONFIRMED = 8
    INGRESS_ENDED = 9


# A refused connection never carried a byte of the event, and an ingress program vouches for
# what it rejects. A connection that failed in another way before the event was sent is left
# unknown: it proves less.
REFUSED_WITHOUT_ANSWER = frozenset({Reason.CONNECTION_REFUSED, Reason.REJECTED})


def classify(code: int, accepted: Collection[int], refused: Collection[int]) -> Status:
    """Return the status that the outcome ``code`` (HTTP status or Reason) proves."""
    if code in accepted or code == Reason.CONFIRMED:
        return Status.ACKED
    if code in refused or code in REFUSED_WITHOUT_ANSWER:
        return Status.REFUSED
    return Status.UNKNOWN


def described(counts: Mapping[int, int]) -> str:
    """Return how often each outcome came, the most frequent first, in words."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} × {_named(code)}" for code, count in ordered)


def _named(code: int) -> str:
    if code in set(Reason):
        return Reason(code).name.lower().replace("_", " ")
    return f"HTTP {code}" if code else "no outcome recorded"
