"""Kafka: an event is acked when its delivery report says so.

Refused are errors that librdkafka itself raises before anything was sent, such as a full
local queue or a message that is too large; a report of failure leaves the event unknown,
since a broker may have it all the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import field_validator

from lossmeter.load.ingress import _serve
from lossmeter.load.ingress._options import OwnOptions, names_the_event
from lossmeter.plan.of_kafka import OfKafka

NEEDS = ("confluent_kafka",)


class Options(OfKafka, OwnOptions):
    """Which topic, and what librdkafka is set to.

    Attributes:
        acks: how many brokers must have it.
        key: of a message; empty for none.
        body: of a message.
    """

    acks: Literal["0", "1", "all"] = "all"
    key: str = ""
    body: str = '{"producer": $producer, "sequence": $sequence, "payload": "$payload"}'

    _body = field_validator("body")(names_the_event)


def main() -> None:
    """Answer each event of the standard input."""
    import threading  # noqa: PLC0415 - only this program needs these

    from confluent_kafka import KafkaError, KafkaException, Message, Producer  # noqa: PLC0415

    asked = _serve.options()
    producer = Producer(
        {
            "bootstrap.servers": asked["address"],
            "acks": asked["acks"],
            "linger.ms": "1",
            "message.timeout.ms": str(round(asked["timeout_s"] * 1000)),
            **asked["settings"],
        }
    )
    body = _serve.filler(asked["body"])
    key = _serve.filler(asked["key"]) if asked["key"] else lambda _: None
    answers = _serve.Answers()

    def reported(event: Any, error: KafkaError | None, message: Message) -> None:
        del message
        if error is not None:
            _serve.note(KafkaException(error))
        answers.give((_serve.UNKNOWN if error else _serve.OK, event))

    over = threading.Event()

    def serve_reports() -> None:
        while not over.is_set():
            producer.poll(0.05)

    reports = threading.Thread(target=serve_reports)
    reports.start()
    answers.ready()
    for batch in _serve.batches():
        for event in batch:
            try:
                report = partial(reported, event["id"])
                producer.produce(asked["topic"], body(event), key(event), on_delivery=report)
            except (BufferError, KafkaException) as error:
                _serve.note(error)
                answers.give((_serve.REFUSED, event["id"]))
    producer.flush(asked["timeout_s"])
    over.set()
    reports.join()


if __name__ == "__main__":
    main()
