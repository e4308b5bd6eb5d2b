"""Why an event is not taken in, and the limit of how fast events are."""

from __future__ import annotations

import time


class IntakeClosedError(Exception):
    """The dispatcher is shutting down and takes no more events."""


class RateLimitedError(Exception):
    """The event came faster than the limit allows.

    Attributes:
        retry_after_s: when there will be room.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"rate limit; retry after {retry_after_s:.3f} s")
        self.retry_after_s = retry_after_s


class TokenBucket:
    """Lets ``rate_per_s`` events through, with bursts of up to one second's worth."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate = rate_per_s
        self._burst = max(1.0, rate_per_s)
        self._tokens = self._burst
        self._at = time.monotonic()

    def take(self) -> float:
        """Take a token and return 0, or the seconds until there is one."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0
