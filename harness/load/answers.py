"""What an answer means: the one table that turns an outcome into a status.

Refused is an allow-list of outcomes that provably had no effect. Whatever is in neither
list is unknown: the event may have been accepted.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from harness.model import Status


class Reason(IntEnum):
    """Why there is no HTTP status; the numbers lie below those of HTTP."""

    CONNECTION_REFUSED = 1
    CONNECT_FAILED = 2
    CONNECTION_LOST = 3
    TIMED_OUT = 4
    MALFORMED = 5


# A refused connection never carried a byte of the event. A connection that failed in
# another way before the event was sent is left unknown: it proves less.
REFUSED_WITHOUT_ANSWER = frozenset({Reason.CONNECTION_REFUSED})


def classify(code: int, accepted: Collection[int], refused: Collection[int]) -> Status:
    """Return the status that the outcome ``code`` (HTTP status or Reason) proves."""
    if code in accepted:
        return Status.ACKED
    if code in refused or code in REFUSED_WITHOUT_ANSWER:
        return Status.REFUSED
    return Status.UNKNOWN
