"""Questions over HTTP to what runs on this machine: through no proxy, along no redirect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import OK, HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from lossmeter.world.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``location``: where a redirect points."""

    status: int
    body: bytes
    encoding: str = ""
    location: str = ""

    @property
    def ok(self) -> bool:
        """Return whether it is a 200: a redirect leads nobody to where it points."""
        return self.status == OK

    def json_object(self) -> dict[str, Any] | None:
        """Return the JSON object in the body; None where it is anything else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def connection(url: str, timeout_s: float) -> HTTPConnection:
    """Return a connection, not open yet, to the host and port of a URL."""
    parts = urlsplit(url)
    return HTTPConnection(parts.hostname or LOOPBACK, parts.port or 80, timeout=timeout_s)


def exchange(
    over: HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request over a connection and return its answer.

    Raises:
        OSError, HTTPException: there is none, or it is not HTTP.
    """
    over.request(method, path, body, dict(headers or {}))
    answer = over.getresponse()
    encoding, location = (answer.headers.get(n, "") for n in ("content-encoding", "location"))
    return Answer(answer.status, answer.read(), encoding, location)


def ask(
    url: str,
    timeout_s: float = 1.0,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer | None:
    """Send one request; return None where nobody answers, or not in HTTP, or nobody can."""
    try:
        parts = urlsplit(url)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        with closing(connection(url, timeout_s)) as over:
            return exchange(over, method, path, body, headers)
    except (OSError, HTTPException, ValueError):
        return None
