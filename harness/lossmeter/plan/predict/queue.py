"""The analytic model: what a dispatcher should lose, refuse and manage, from its numbers.

A dispatcher is a bounded queue in front of N workers that each take a fixed time per event;
the model is that of a fluid queue, which the sources of the mission use too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lossmeter.errors import UsageError
from lossmeter.model import plural

MEDIUM_RATE_PER_S = 200
HIGH_RATE_PER_S = 2000
# Beside the handler's own time each event takes an insert through a proxy, which the model
# leaves out, as its sources do; predictions allow for it in their tolerance.
INSERT_S = 0.01


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The numbers of a dispatcher under a load.

    Attributes:
        push_timeout_s: seconds that a push waits for room before it is refused.
        grace_s: seconds between SIGTERM and the end of the process.
    """

    rate_per_s: float
    workers: int = 5
    handler_time_s: float = 0.05
    capacity: int = 1000
    push_timeout_s: float = 5.0
    grace_s: float = 2.0

    def __post_init__(self) -> None:
        require(self.rate_per_s > 0, "rate", self.rate_per_s, "above 0 events/s")
        require(self.workers >= 1, "workers", self.workers, "1 or more")
        require(self.handler_time_s > 0, "handler time", self.handler_time_s, "above 0 s")
        require(
            math.isfinite(self.service_rate_per_s),
            "capacity of the workers",
            self.service_rate_per_s,
            "a number of events/s",
        )
        require(self.capacity >= 1, "capacity", self.capacity, "1 or more events")
        require(self.push_timeout_s >= 0, "push time-out", self.push_timeout_s, "0 s or more")
        require(self.grace_s >= 0, "grace", self.grace_s, "0 s or more")

    @property
    def basis(self) -> str:
        """Return the numbers that went in, for the reader of what came out."""
        return (
            f"{self.rate_per_s:g} events/s for {plural(self.workers, 'worker')} of "
            f"{self.handler_time_s:g} s an event behind a queue of {self.capacity}, "
            f"{self.push_timeout_s:g} s push time-out, {self.grace_s:g} s grace"
        )

    @property
    def service_rate_per_s(self) -> float:
        """Return the events per second that the workers can handle."""
        return self.workers / self.handler_time_s

    @property
    def backlog_growth_per_s(self) -> float:
        """Return by how many events per second the queue grows; 0 when it does not."""
        return max(0.0, self.rate_per_s - self.service_rate_per_s)

    @property
    def throughput_per_s(self) -> float:
        """Return the events per second that are handled in the long run."""
        return min(self.rate_per_s, self.service_rate_per_s)

    def workers_for(self, rate_per_s: float) -> int:
        """Return how many workers handle a rate, of the same handler time."""
        needed = rate_per_s * self.handler_time_s
        require(math.isfinite(needed), "rate times handler time", needed, "finite")
        # A product such as 0.07 * 100 is a hair above the number that it stands for.
        return max(1, math.ceil(round(needed, 9)))

    def drain_s(self, queued: int) -> float:
        """Return how long the workers need for what is queued, in seconds."""
        require(queued >= 0, "queued", queued, "0 or more events")
        return queued / self.service_rate_per_s


def recommended_backend(rate_per_s: float) -> str:
    """Return what the analysis recommends for a rate (mission: comparison of choices).

    Raises:
        UsageError: the rate is not above 0.
    """
    require(rate_per_s > 0, "rate", rate_per_s, "above 0 events/s")
    if rate_per_s < MEDIUM_RATE_PER_S:
        return "channel + retry + alerts"
    if rate_per_s <= HIGH_RATE_PER_S:
        return "Redis + retry + dead-letter queue"
    return "Kafka + retry + full monitoring"


def require(fine: bool, name: str, value: float, right: str) -> None:
    """Check one number of the model.

    Raises:
        UsageError: it is not ``fine``, or not finite; ``right`` says what would be.
    """
    if not fine or not math.isfinite(value):
        raise UsageError(f"{name} is {value:g}; it must be {right if not fine else 'finite'}")
