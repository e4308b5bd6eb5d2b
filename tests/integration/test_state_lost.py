"""A target whose word on what it holds cannot be read any more, from the middle of a run on."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.attached import Answer, attached, run_attached, to_file
from tests.support.program import Running, until

STORE = """
[persisted]
kind = "jsonl"
file = "{file}"
payload = "payload"
"""
ANSWERS: dict[str, tuple[Answer, str]] = {
    "null": (
        (200, b'{"queue_length": null}', {}),
        "http.queue_length names queue_length, and there the answer has nothing",
    ),
    "list": ((200, b"[0, 0]", {}), "the answer is no JSON object, it begins b'[0, 0]'"),
    "redirect": ((307, b"", {"Location": "/"}), "http.state /state answers 307"),
    "gzip": (
        (200, gzip.compress(b'{"queue_length": 0}'), {"Content-Encoding": "gzip"}),
        "the answer is gzip-encoded",
    ),
    "error": ((503, b"", {}), "http.state /state answers 503; right is 200"),
}


@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS)
def test_a_state_that_cannot_be_read_any_more_is_told_and_not_waited_for(
    project: Path, background: Callable[..., Running], answer: Answer, said: str
) -> None:
    file = project / "kept.jsonl"
    with attached(to_file(file)) as dispatcher:
        ask = run_attached(project, dispatcher.port, STORE.format(file=file))
        running = background(*ask, "--json", "-")
        until(lambda: dispatcher.kept > 20)
        dispatcher.state = answer
        until(lambda: dispatcher.kept == 50)
        begin = time.monotonic()
        done = running.end(120)
        took_s = time.monotonic() - begin
    (result,) = done.results()
    assert (done.code, result["verdict"]) == (7, "inconclusive"), result["reason"]
    assert said in result["reason"]
    assert "rows still arrive" not in result["reason"]
    assert took_s < 45
