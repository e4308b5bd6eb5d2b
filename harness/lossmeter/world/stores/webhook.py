"""Webhooks: the calls that the harness's own receiver has recorded, in their order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import OK, HTTPException
from typing import Self
from urllib.parse import urlsplit

from lossmeter.errors import CollectError
from lossmeter.plan.kinds import Interpolate
from lossmeter.world import http_client
from lossmeter.world.stores._records import Record, RecordStore, Shape

_WITHIN_S = 10.0


class Options(Shape):
    """Where things stand in the body of a call.

    The target calls ``{webhook.url}``, with POST, PUT or PATCH; each call is on the disk
    before it is answered. Where the body is a form or the like, a pattern finds the event.
    """

    def open(self, interpolate: Interpolate) -> Store:
        """Return what reads the calls."""
        return Store(interpolate("{webhook.control}"), interpolate("{webhook.password}"), self)


class Store(RecordStore):
    """Reads the calls, with the time of the receiver at each."""

    dated = True
    sources = {"rows": "kind"}  # noqa: RUF012 - never changed

    def __init__(self, url: str, secret: str, shape: Shape) -> None:
        super().__init__(shape)
        self._url, self._secret = url, secret

    def count(self, array: str) -> int:
        """Ask how many calls there were."""
        del array
        answer = http_client.ask(f"{self._url}/state", _WITHIN_S, headers=self._headers())
        state = None if answer is None or not answer.ok else answer.json_object()
        if state is None:
            raise CollectError("persisted.kind: the receiver of webhooks is away")
        return int(state["calls"])

    def records(self, source: str) -> Iterator[Record]:
        """Yield the calls, as they come from the receiver."""
        del source
        path = urlsplit(self._url).path
        with closing(http_client.connection(self._url, _WITHIN_S)) as over:
            try:
                over.request("GET", f"{path}/calls", headers=self._headers())
                answer = over.getresponse()
                if answer.status != OK:
                    raise CollectError(f"persisted.kind: the receiver answers {answer.status}")
                number = 0
                while line := answer.readline():
                    call = json.loads(line)
                    body = str(call["body"]).encode("utf-8", "surrogateescape")
                    yield body, number, int(call["at"])
                    number += 1
            except (OSError, HTTPException, ValueError) as error:
                raise CollectError(
                    f"persisted.kind: the receiver of webhooks broke off: {error}"
                ) from None

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._secret}"}

    def place(self, source: str, number: int) -> str:
        """Return which call it is."""
        del source
        return f"call {number}"

    def absent(self) -> str:
        """Return nothing: the receiver has always been there."""
        return ""

    def again(self) -> Self:
        """Return another that reads the same."""
        return type(self)(self._url, self._secret, self.shape)
