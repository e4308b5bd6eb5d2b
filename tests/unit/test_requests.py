"""The bytes of a request: what a real parser reads out of them is the event."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httptools
import pytest

from lossmeter.load.plan import HEAD_VARIABLE, Head, LoadPlan
from lossmeter.load.requests import Requests
from lossmeter.load.schedule import Due, payload
from lossmeter.record.payloads import payload_hash


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


def _plan(body: str, payload_bytes: int, **head: Any) -> LoadPlan:
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
        head=Head(**head),
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


def test_method_query_and_headers_are_those_of_the_target() -> None:
    headers = {"Authorization": "Bearer s\xfc\xdfe", "content-type": "application/x-ndjson"}
    plan = _plan('{"n": $sequence}', 8, method="PUT", query="a=b%20c", headers=headers)
    read = _Read(Requests(plan).of(Due(3, 4, 0))[0])
    assert (read.method, read.url, read.complete) == (b"PUT", b"/api/jobs?a=b%20c", True)
    assert read.headers[b"authorization"].decode("latin-1") == headers["Authorization"]
    assert read.headers[b"content-type"] == b"application/x-ndjson"
    asked = Requests(replace(plan, path="/api/jobs?x=1")).of(Due(3, 4, 0))[0]
    assert _Read(asked).url == b"/api/jobs?x=1&a=b%20c"


def test_what_is_saved_of_a_plan_holds_no_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan("", 8, headers={"Authorization": "Bearer secret"})
    plan.save(tmp_path / "plan.json")
    assert "secret" not in (tmp_path / "plan.json").read_text()
    monkeypatch.setenv(HEAD_VARIABLE, json.dumps(asdict(plan.head)))
    assert LoadPlan.load(tmp_path / "plan.json").head == plan.head
