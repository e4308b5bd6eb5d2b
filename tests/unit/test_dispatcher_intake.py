"""The bare ASGI path of ``POST /events``, driven as a server drives it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lossmeter_dispatcher.app import MAX_ARRAY, Intake
from lossmeter_dispatcher.events import Event
from lossmeter_dispatcher.intake import IntakeClosedError, RateLimitedError
from lossmeter_dispatcher.queues.protocol import QueueFullError, QueueUnsureError

_ERRORS = {
    "full": QueueFullError(),
    "closed": IntakeClosedError(),
    "limited": RateLimitedError(0.25),
    "unsure": QueueUnsureError("no answer"),
}


class _Taker:
    """Takes what is pushed, or raises what the event's key names."""

    def __init__(self) -> None:
        self.taken: list[Event] = []

    async def push(self, event: Event) -> None:
        if event.key in _ERRORS:
            raise _ERRORS[event.key]
        self.taken.append(event)


def _asked(parts: list[dict[str, Any]]) -> tuple[int | None, Any, dict[bytes, bytes], list[Event]]:
    taker, sent = _Taker(), []
    messages = iter(parts)

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/events", "headers": []}
    asyncio.run(Intake(taker)(scope, receive, send))  # type: ignore[arg-type]
    if not sent:
        return None, None, {}, taker.taken
    return sent[0]["status"], json.loads(sent[1]["body"]), dict(sent[0]["headers"]), taker.taken


def _body(content: object) -> list[dict[str, Any]]:
    return [{"type": "http.request", "body": json.dumps(content).encode()}]


def _event(sequence: int, key: str = "") -> dict[str, object]:
    return {"producer": 1, "sequence": sequence, "key": key, "payload": "x"}


def test_one_event_is_taken_whole_however_it_comes_in_parts() -> None:
    data = json.dumps(_event(7)).encode()
    parts = [
        {"type": "http.request", "body": data[n : n + 5], "more_body": True}
        for n in range(0, len(data), 5)
    ]
    status, body, headers, taken = _asked([*parts, {"type": "http.request"}])
    assert (status, body, taken) == (202, {"queued": 1}, [Event(1, 7, "", "x")])
    assert int(headers[b"content-length"]) == len(b'{"queued":1}')


def test_a_client_that_goes_before_its_event_is_whole_has_sent_none() -> None:
    begun = {"type": "http.request", "body": b'{"producer": 1,', "more_body": True}
    status, _, _, taken = _asked([begun, {"type": "http.disconnect"}])
    assert (status, taken) == (None, [])


@pytest.mark.parametrize(
    ("key", "status", "said"),
    [
        ("full", 503, "queue is full"),
        ("closed", 503, "shutting down"),
        ("limited", 429, "rate limit exceeded"),
        ("unsure", 504, "the queue did not answer"),
    ],
)
def test_a_refusal_says_why(key: str, status: int, said: str) -> None:
    for content in (_event(1, key), [_event(1, key), _event(2, key)]):
        answered, body, headers, taken = _asked(_body(content))
        assert (answered, body, taken) == (status, {"error": said}, [])
        assert (headers.get(b"retry-after") == b"1") == (key == "limited")


def test_an_array_of_which_some_are_refused_names_each() -> None:
    status, body, _, taken = _asked(_body([_event(1), _event(2, "full"), _event(3)]))
    assert status == 207
    assert body == {"results": ["queued", "queue is full", "queued"]}
    assert [event.sequence for event in taken] == [1, 3]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"producer": -1, "sequence": 1}, 422),
        ({"sequence": 1}, 422),
        ("text", 422),
        ([_event(1)] * (MAX_ARRAY + 1), 413),
    ],
)
def test_what_is_no_event_is_refused_and_nothing_taken(content: object, status: int) -> None:
    answered, body, _, taken = _asked(_body(content))
    assert (answered, taken) == (status, [])
    assert body["error"]
