"""AMQP 0-9-1: an event is acked when the broker confirmed it, or, if asked, when it was written.

Refused is what the broker returned since no queue is bound there (``mandatory``), what it
rejected (basic.nack), and what was still here when no channel could be opened. What was
published and not confirmed before the channel ended is unknown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lossmeter.load.ingress import _serve
from lossmeter.load.ingress._options import OwnOptions, names_the_event
from lossmeter.plan.kinds import Options as Common

if TYPE_CHECKING:
    import pika
    from pika.adapters.select_connection import IOLoop

NEEDS = ("pika",)
_STDIN, _READ_BYTES = 0, 1 << 16


class Properties(Common):
    """The properties of a message; texts may carry ``$producer`` and the like.

    Attributes:
        delivery_mode: 2 for a message that survives the broker, 1 for one that need not.
    """

    content_type: str | None = "application/json"
    content_encoding: str | None = None
    headers: dict[str, Any] | None = None
    delivery_mode: Literal[1, 2] = 2
    priority: Annotated[int, Field(ge=0, le=255)] | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None


class Options(OwnOptions):
    """Where events are published, and what counts as an ack.

    Attributes:
        url: of the broker.
        exchange: empty for the default one, which leads to the queue of the routing key's name.
        routing_key: by default the queue's name.
        queue: declared durable before the first event; empty where the target declares its own.
        queue_arguments: of that queue, e.g. ``{"x-queue-type" = "quorum"}``.
        body: of a message.
        mandatory: whether the broker returns what it can put into no queue.
        confirm: whether the broker confirms each message; without, an event is acked when it
            was written to the connection, as clients have it that do not ask for confirms.
        nacked: what basic.nack proves; where an exchange leads to several queues, one of them
            may have taken what another rejected, and it is ``unknown``.
    """

    url: Annotated[str, Field(pattern=r"^(\{|amqps?://)")] = "{rabbitmq.url}"
    exchange: str = ""
    routing_key: str = ""
    queue: str = ""
    queue_arguments: dict[str, Any] = Field(default_factory=dict)
    body: str = '{"producer": $producer, "sequence": $sequence, "payload": "$payload"}'
    properties: Properties = Properties()
    mandatory: bool = True
    confirm: bool = True
    nacked: Literal["refused", "unknown"] = "refused"

    _body = field_validator("body")(names_the_event)

    @model_validator(mode="before")
    @classmethod
    def _asks_for_both(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("confirm") is False:
            return {"mandatory": False, **given}
        return given

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if not (self.exchange or self.routing_key or self.queue):
            raise ValueError("give queue, or exchange and routing_key: it leads nowhere")
        if self.mandatory and not self.confirm:
            raise ValueError("mandatory needs confirm: a return would come after the ack")
        return self


class _Publisher:
    """Publishes events over one channel, which is opened again for the events after its end.

    Args:
        asked: the options.
        answers: takes what becomes of each event.
        loop: runs everything here, in one thread.
    """

    def __init__(self, asked: Mapping[str, Any], answers: _serve.Answers, loop: IOLoop) -> None:
        self._asked, self._answers, self._loop = asked, answers, loop
        self._body = _serve.filler(asked["body"])
        self._key = asked["routing_key"] or asked["queue"]
        self._properties = _properties(asked["properties"])
        self._connection: pika.SelectConnection | None = None
        self._channel: pika.channel.Channel | None = None
        # Not published yet, since no channel is open.
        self._waiting: list[_serve.Event] = []
        # Published, by delivery tag: the event's id, and its body, by which a return names it.
        self._open: dict[int, tuple[str, bytes]] = {}
        self._returned: set[bytes] = set()
        self._tag = 0

    @property
    def busy(self) -> bool:
        """Return whether an event has no answer yet."""
        return bool(self._waiting or self._open)

    def take(self, events: list[_serve.Event]) -> None:
        """Publish events, once a channel is open."""
        self._waiting += events
        if self._channel is not None:
            self._publish()
        elif self._connection is None:
            self.connect()

    def connect(self) -> None:
        """Open a connection, and a channel on it."""
        import pika  # noqa: PLC0415 - only this program needs it

        parameters = pika.URLParameters(self._asked["url"])
        parameters.connection_attempts = 1
        parameters.socket_timeout = parameters.stack_timeout = self._asked["timeout_s"]
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda connection: connection.channel(
                on_open_callback=self._channel_open
            ),
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
            custom_ioloop=self._loop,
        )

    def _channel_open(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(self._channel_ended)
        channel.add_on_return_callback(lambda *returned: self._returned.add(returned[-1]))
        declared = self._asked["queue"]
        if not declared:
            self._declared(channel)
            return
        channel.queue_declare(
            declared,
            durable=True,
            arguments=self._asked["queue_arguments"],
            callback=lambda _: self._declared(channel),
        )

    def _declared(self, channel: pika.channel.Channel) -> None:
        if self._asked["confirm"]:
            channel.confirm_delivery(self._confirmed, lambda _: self._serve(channel))
        else:
            self._serve(channel)

    def _serve(self, channel: pika.channel.Channel) -> None:
        self._channel, self._tag = channel, 0
        self._publish()

    def _publish(self) -> None:
        events, self._waiting = self._waiting, []
        for n, event in enumerate(events):
            if self._channel is None or not self._channel.is_open:
                self._waiting += events[n:]
                break
            body = self._body(event).encode()
            self._tag += 1
            self._open[self._tag] = event["id"], body
            properties = self._properties(event)
            exchange, mandatory = self._asked["exchange"], self._asked["mandatory"]
            self._channel.basic_publish(exchange, self._key, body, properties, mandatory)
        if not self._asked["confirm"]:
            self._answer(dict.fromkeys(self._open, _serve.OK))

    def _confirmed(self, frame: Any) -> None:
        from pika import spec  # noqa: PLC0415

        method = frame.method
        last = method.delivery_tag
        if last > self._tag:
            # Who confirms what was never published may mean anything by "all up to it".
            return
        word = _serve.OK if isinstance(method, spec.Basic.Ack) else self._asked["nacked"]
        # They stand in the order of their tags.
        tags = takewhile(last.__ge__, self._open) if method.multiple else (last,)
        self._answer({tag: word for tag in tags if tag in self._open})

    def _answer(self, words: Mapping[int, str]) -> None:
        given = []
        for tag, word in words.items():
            event, body = self._open.pop(tag)
            # The broker returns a message, and then confirms it all the same.
            returned = body in self._returned
            self._returned.discard(body)
            given.append((_serve.REFUSED if returned else word, event))
        self._answers.give(*given)

    def _channel_ended(self, channel: Any, why: BaseException) -> None:
        _serve.note(why)
        self._channel = None
        if channel.connection.is_open:
            channel.connection.close()

    def _ended(self, connection: Any, why: BaseException | str) -> None:
        del connection
        _serve.note(why if isinstance(why, BaseException) else OSError(why))
        self._connection = self._channel = None
        self._answer(dict.fromkeys(self._open, _serve.UNKNOWN))
        self._returned.clear()
        refused, self._waiting = self._waiting, []
        self._answers.give(*((_serve.REFUSED, event["id"]) for event in refused))


def _properties(given: Mapping[str, Any]) -> Callable[[_serve.Event], pika.BasicProperties]:
    """Return what makes the properties of an event's message."""
    import pika  # noqa: PLC0415 - only this program needs it

    named = {name: value for name, value in given.items() if value is not None}
    if "$" not in str(named):
        always = pika.BasicProperties(**named)
        return lambda _: always
    return lambda event: pika.BasicProperties(**_filled(named, event))


def _filled(value: Any, event: _serve.Event) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, event) for name, each in value.items()}
    return _serve.filler(value)(event) if isinstance(value, str) else value


def main() -> None:
    """Answer each event of the standard input."""
    from pika.adapters.select_connection import IOLoop  # noqa: PLC0415

    asked, answers, loop = _serve.options(), _serve.Answers(), IOLoop()
    publisher, lines = _Publisher(asked, answers, loop), _serve.Lines()

    def end() -> None:
        if publisher.busy:
            loop.call_later(0.01, end)
        else:
            loop.stop()

    def read(*_: object) -> None:
        if data := os.read(_STDIN, _READ_BYTES):
            publisher.take(lines.events(data))
            return
        loop.remove_handler(_STDIN)
        loop.call_later(asked["timeout_s"], loop.stop)
        end()

    loop.add_handler(_STDIN, read, loop.READ)
    publisher.connect()
    answers.ready()
    loop.start()


if __name__ == "__main__":
    main()
