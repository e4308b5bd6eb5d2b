"""The bytes of a request: what a real parser reads out of them is the event."""

from __future__ import annotations

import json

import httptools
import pytest

from harness.load.plan import LoadPlan
from harness.load.requests import Requests
from harness.load.schedule import Due, payload, payload_hash


class _Read:
    """What a server reads."""

    def __init__(self, request: bytes) -> None:
        self.body = b""
        self.headers: dict[bytes, bytes] = {}
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(request)
        self.method, self.keep_alive = parser.get_method(), parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def _plan(body: str, payload_bytes: int) -> LoadPlan:
    return LoadPlan(
        host="10.0.0.1",
        port=8080,
        path="/api/jobs",
        body=body,
        accepted=[202],
        refused=[],
        timeout_s=1,
        phases=[(1.0, 1.0)],
        producers=8,
        payload_bytes=payload_bytes,
        max_in_flight=1,
        seed=7,
        folder="",
    )


@pytest.mark.parametrize("payload_bytes", [1, 64, 128, 129, 65536])
def test_a_request_carries_the_event(payload_bytes: int) -> None:
    body = '{"n": $sequence, "by": "${producer}", "text": "$payload", "share": "100 %s $$"}'
    request, hashed = Requests(_plan(body, payload_bytes)).of(Due(3, 12345678901, 0))
    read = _Read(request)
    text = payload(7, 3, 12345678901, payload_bytes)
    assert read.complete
    assert read.keep_alive
    assert (read.method, read.url) == (b"POST", b"/api/jobs")
    assert read.headers[b"host"] == b"10.0.0.1:8080"
    assert json.loads(read.body) == {
        "n": 12345678901,
        "by": "3",
        "text": text,
        "share": "100 %s $",
    }
    assert len(text) == payload_bytes
    assert hashed == payload_hash(text)


def test_a_body_beyond_ascii_is_as_long_as_it_says() -> None:
    body = '{"p": $producer, "s": $sequence, "t": "größer $payload"}'
    request, _ = Requests(_plan(body, 8)).of(Due(0, 0, 0))
    read = _Read(request)
    assert read.complete
    assert json.loads(read.body)["t"].startswith("größer ")
