"""The reference dispatcher as a process that tests speak to."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg


@dataclass
class Dispatcher:
    """A running dispatcher."""

    popen: subprocess.Popen[bytes]
    base: str

    def post(self, body: object, path: str = "/events") -> tuple[int, Any, dict[str, str]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask(urllib.request.Request(self.base + path, data, method="POST"))

    def get(self, path: str) -> tuple[int, Any, dict[str, str]]:
        return self._ask(urllib.request.Request(self.base + path))

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.get("/state?dead_letters")[1]
        return state

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any, dict[str, str]]:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, _parsed(answer.read()), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.read()), dict(error.headers)


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode()


Start = Callable[..., Dispatcher]


def is_ready(dispatcher: Dispatcher) -> bool:
    assert dispatcher.popen.poll() is None, "the dispatcher ended while starting"
    try:
        return dispatcher.get("/readyz")[0] == 200
    except urllib.error.URLError:
        return False


def an_event(sequence: int, **more: object) -> dict[str, object]:
    return {"producer": 0, "sequence": sequence, "key": "k", "payload": f"p{sequence}"} | more


def rows_of(notices: psycopg.Connection[tuple[Any, ...]]) -> list[int]:
    return [row[0] for row in notices.execute("select sequence from notice order by id")]
