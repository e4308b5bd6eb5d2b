"""The numbers and words by which a dispatcher behaves, as its target file gives them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lossmeter.plan.processes import Seconds
from lossmeter.plan.tables import Table


class Behaviour(Table):
    """What the prediction knows of the dispatcher.

    ``shutdown`` is what it does after SIGTERM: ``exit`` at once, ``sleep`` for ``sleep_s``
    while it works on, or ``drain`` until it is empty, for ``drain_limit_s`` at most.
    ``when_full`` is what a push does when the queue is full: ``block`` for
    ``push_timeout_s``, ``reject`` at once, or ``write-through`` in the producer's own time;
    ``rate-limit`` lets ``rate_limit_per_s`` through and rejects what is beyond.
    ``retry_attempts`` after a failed handling wait ``retry_base ** i`` seconds each; what
    has failed for good goes into a dead-letter queue of ``dead_letter_capacity``, if any.
    ``database_timeout_s`` is how long an insert waits before it has failed. A slow query's
    answer is kept for ``cache_s``; ``aside`` slow works at once are done after the insert.
    ``batch_rows`` are inserted by one statement at most.
    """

    workers: Annotated[int, Field(ge=1)] | None = None
    capacity: Annotated[int, Field(ge=1)] | None = None
    handler_time_s: Seconds | None = None
    push_timeout_s: Seconds | None = None
    queue_survives_crash: bool | None = None
    in_hand_survives_crash: bool | None = None
    shutdown: Literal["exit", "sleep", "drain"] | None = None
    sleep_s: Seconds | None = None
    drain_limit_s: Seconds | None = None
    when_full: Literal["block", "reject", "rate-limit", "write-through"] | None = None
    rate_limit_per_s: Annotated[float, Field(gt=0)] | None = None
    retry_attempts: Annotated[int, Field(ge=0, le=20)] | None = None
    retry_base: Annotated[float, Field(ge=1, le=10)] | None = None
    dead_letter_capacity: Annotated[int, Field(ge=1)] | None = None
    database_timeout_s: Annotated[float, Field(gt=0, le=300)] | None = None
    cache_s: Seconds | None = None
    aside: Annotated[int, Field(ge=0)] | None = None
    batch_rows: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.when_full == "rate-limit") != (self.rate_limit_per_s is not None):
            raise ValueError("when_full = 'rate-limit' and rate_limit_per_s need each other")
        return self
