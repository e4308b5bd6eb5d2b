"""Redis: an event is acked when LPUSH, RPUSH, XADD or PUBLISH answered; with WAIT, if asked.

An error reply proves that the command had no effect; a connection that broke while an
answer was due proves nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from lossmeter.load.ingress import _serve
from lossmeter.load.ingress._options import OwnOptions, names_the_event
from lossmeter.plan.kinds import Interpolate
from lossmeter.world import beginnings

NEEDS = ("redis",)


class Options(OwnOptions):
    """Which command, on which key.

    Attributes:
        url: of the server.
        action: the command.
        key: the list, stream or channel.
        body: of one event; for XADD the value of ``field``.
        field: of a stream's entry.
        wait_replicas: with WAIT, how many replicas must have the write; fewer leave it unknown.
    """

    url: str = "{redis.url}"
    action: Literal["LPUSH", "RPUSH", "XADD", "PUBLISH"] = Field(alias="command")
    key: Annotated[str, Field(min_length=1)]
    body: str = '{"producer": $producer, "sequence": $sequence, "payload": "$payload"}'
    field: Annotated[str, Field(min_length=1)] = "event"
    wait_replicas: Annotated[int, Field(ge=0, le=100)] = 0

    _body = field_validator("body")(names_the_event)

    def began(self, interpolate: Interpolate) -> str | None:
        """Ask for the id of the server's lifetime."""
        return beginnings.of_redis(interpolate(self.url))


def main() -> None:
    """Answer each event of the standard input."""
    import redis  # noqa: PLC0415 - only this program needs it
    from redis.exceptions import ConnectionError as Away  # noqa: PLC0415
    from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415

    asked = _serve.options()
    fill, key, timeout_s = _serve.filler(asked["body"]), asked["key"], asked["timeout_s"]
    # No retries: a command that was sent twice would be an event that was sent twice.
    client = redis.Redis.from_url(
        asked["url"], socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None
    )

    def send(batch: list[_serve.Event]) -> list[tuple[str, str]]:
        pipeline = client.pipeline(transaction=False)
        for event in batch:
            value = (asked["field"], fill(event)) if asked["action"] == "XADD" else (fill(event),)
            words = ("*", *value) if asked["action"] == "XADD" else value
            pipeline.execute_command(asked["action"], key, *words)  # type: ignore[no-untyped-call]
        if asked["wait_replicas"]:
            wait = ("WAIT", asked["wait_replicas"], int(timeout_s * 1000))
            pipeline.execute_command(*wait)  # type: ignore[no-untyped-call]
        replies = pipeline.execute(raise_on_error=False)
        copied = not asked["wait_replicas"] or (
            isinstance(replies[-1], int) and replies[-1] >= asked["wait_replicas"]
        )
        return [
            (_word(reply, ResponseError, copied=copied), event["id"])
            for event, reply in zip(batch, replies, strict=False)
        ]

    answers = _serve.Answers()
    answers.ready()
    for batch in _serve.batches():
        word = _serve.UNKNOWN
        try:
            # A connection that cannot be made has carried nothing.
            word = _serve.REFUSED
            client.ping()
            word = _serve.UNKNOWN
            answers.give(*send(batch))
        except (Away, RedisError, OSError) as error:
            _serve.note(error)
            answers.give(*((word, event["id"]) for event in batch))


def _word(reply: object, error: type[Exception], *, copied: bool) -> str:
    if isinstance(reply, error):
        _serve.note(reply)
        return _serve.REFUSED
    if isinstance(reply, Exception):
        _serve.note(reply)
        return _serve.UNKNOWN
    return _serve.OK if copied else _serve.UNKNOWN


if __name__ == "__main__":
    main()
