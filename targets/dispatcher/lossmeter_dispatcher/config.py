"""Every setting, from the environment: ``DISPATCHER_`` and the name, ``__`` between levels.

The defaults are today's values of the analysis.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "DISPATCHER_"
CHANNEL_CAPACITY = 1000
REDIS_CAPACITY = 5000

Seconds = Annotated[float, Field(ge=0, le=3600)]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WhenFull(StrEnum):
    """What a push does when the queue is full."""

    BLOCK = "block"
    REJECT = "reject"
    RATE_LIMIT = "rate-limit"
    WRITE_THROUGH = "write-through"


class DeadLetterKind(StrEnum):
    """Where events go that failed for good."""

    NONE = "none"
    MEMORY = "memory"
    FILE = "file"
    DATABASE = "database"


class ShutdownMode(StrEnum):
    """What happens between SIGTERM and the end."""

    SLEEP = "sleep"
    DRAIN = "drain"


class Database(_Group):
    """The database that notices go to; an insert that takes longer than ``timeout_s`` failed.

    With ``batch_rows`` above 1, what workers want to insert at the same time goes in one
    statement of at most so many rows. A worker still holds its event until it is
    committed, so a batch is never larger than there are workers.
    """

    url: str
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 5.0
    batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 1


class QueueSettings(_Group):
    """The queue; ``capacity`` defaults to 1000, for Redis to a buffer of 5000.

    ``session_timeout_s``, ``partitions`` and ``acks`` are Kafka's. A fixed ``instance_id``
    gives a restarted process its partitions, or its pending entries in Redis, back at once.
    """

    type: str = "channel"
    capacity: Positive | None = None
    address: str = ""
    username: str = ""
    password: str = ""
    name: str = "events"
    session_timeout_s: Annotated[float, Field(ge=1, le=600)] = 45.0
    partitions: Annotated[int, Field(ge=1, le=100)] = 4
    acks: Literal["all", "1", "0"] = "all"
    instance_id: str = ""

    @property
    def bound(self) -> int:
        """Return the capacity that applies."""
        default = REDIS_CAPACITY if self.type.startswith("redis") else CHANNEL_CAPACITY
        return self.capacity or default


class Handler(_Group):
    """How long a handler works on one event before it inserts: the sum of its parts.

    ``query_s`` is a real query in the database, the others are waits. Its answer is kept
    for ``cache_s``, by the event's key. With ``aside`` above 0 query, external call and
    logic come after the insert, beside the workers, for so many events at once.
    """

    time_s: Seconds = 0.05
    query_s: Seconds = 0.0
    external_s: Seconds = 0.0
    logic_s: Seconds = 0.0
    cache_s: Seconds = 0.0
    aside: Annotated[int, Field(ge=0, le=100)] = 0


class Push(_Group):
    """How an event gets into the queue."""

    timeout_s: Seconds = 5.0
    when_full: WhenFull = WhenFull.BLOCK
    rate_per_s: Annotated[float, Field(gt=0)] | None = None


class Retry(_Group):
    """Attempts after a failed one; attempt i waits ``base ** i`` seconds.

    What waits for a retry is in memory and dies with the process, unless the queue keeps
    unacknowledged events. A retry holds its worker up only when ``blocking``.
    """

    attempts: Annotated[int, Field(ge=0, le=20)] = 0
    base: Annotated[float, Field(ge=1, le=10)] = 2.0
    blocking: bool = False


class DeadLetter(_Group):
    """The dead-letter queue; when it is full the event is lost."""

    kind: DeadLetterKind = DeadLetterKind.NONE
    capacity: Positive = 1000
    path: Path | None = None
    replay_every_s: Seconds = 0.0


class Shutdown(_Group):
    """The end of the process after SIGTERM."""

    mode: ShutdownMode = ShutdownMode.SLEEP
    sleep_s: Seconds = 2.0
    poll_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    limit_s: Seconds = 30.0


class StageSettings(_Group):
    """Where each event's stage is marked: a folder outside the fault domain; none is off."""

    path: Path | None = None
    capacity: Annotated[int, Field(ge=1, le=100_000_000)] = 10_000_000

    @field_validator("path", mode="before")
    @classmethod
    def _empty_is_none(cls, path: object) -> object:
        return path or None


class Settings(BaseSettings):
    """All settings; ``panic_endpoint`` adds ``POST /panic``, after which it aborts."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)]
    workers: Annotated[int, Field(ge=1, le=1000)] = 5
    database: Database
    queue: QueueSettings = QueueSettings()
    handler: Handler = Handler()
    push: Push = Push()
    retry: Retry = Retry()
    dead_letter: DeadLetter = DeadLetter()
    shutdown: Shutdown = Shutdown()
    stages: StageSettings = StageSettings()
    panic_endpoint: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.queue.type != "channel" and ":" not in self.queue.address:
            raise ValueError(f"QUEUE__TYPE {self.queue.type} needs QUEUE__ADDRESS as host:port")
        if (self.push.when_full is WhenFull.RATE_LIMIT) != (self.push.rate_per_s is not None):
            raise ValueError("PUSH__WHEN_FULL rate-limit and PUSH__RATE_PER_S need each other")
        file = self.dead_letter.kind is DeadLetterKind.FILE
        if file != (self.dead_letter.path is not None):
            raise ValueError("DEAD_LETTER__KIND file and DEAD_LETTER__PATH need each other")
        if self.dead_letter.replay_every_s and self.dead_letter.kind is DeadLetterKind.NONE:
            raise ValueError("DEAD_LETTER__REPLAY_EVERY_S needs a DEAD_LETTER__KIND")
        return self


class ConfigurationError(Exception):
    """The environment does not describe a dispatcher; one sentence per problem."""


def from_environment() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: a value is wrong, missing or unknown.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith(PREFIX) and name.partition("__")[0] not in known:
            raise ConfigurationError(f"{name} is not a setting of the dispatcher")
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentences(error))) from None


def _sentences(error: ValidationError) -> list[str]:
    return [
        f"{PREFIX}{'__'.join(str(part) for part in problem['loc']).upper()}: "
        f"{problem['msg'].removeprefix('Value error, ')}"
        if problem["loc"]
        else problem["msg"].removeprefix("Value error, ")
        for problem in error.errors()
    ]
