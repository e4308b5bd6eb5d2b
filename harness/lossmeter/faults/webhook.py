"""The receiver of webhooks is slow, refuses, or hangs up without an answer.

A slow call is recorded before it waits; one that is refused or hung up on is not recorded.
"""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

from pydantic import Field

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Parameters, Strikes, now, within
from lossmeter.model import Evidence
from lossmeter.world import http_client
from lossmeter.world.site import Endpoint, Site

_ANSWERS_WITHIN_S = 5.0


class Answering(Parameters):
    """How calls are answered, and how many of them."""

    answer: Annotated[Literal["slow", "refuse", "away"], Field(description="slow, refuse or away")]
    delay_s: Annotated[float, within(0, 60, "seconds", above=True)] = 1.0
    status: Annotated[int, within(400, 599, "as HTTP numbers errors")] = 503
    every: Annotated[int, within(1, 10**6, "calls, of which the last is answered so")] = 1


class Webhook(Fault[Answering]):
    """Tells the receiver how to answer, and lets it answer as usual again.

    Evidence: a call of the harness's own that is answered so, and the receiver's count of
    the target's calls that were.
    """

    takes = Answering
    servers = ("webhook",)
    # A receiver that is killed meanwhile forgets how it was to answer.
    strikes = frozenset({Strikes.TABLE})

    _injected = False

    def inject(self, site: Site) -> list[Evidence]:
        """Tell it, and see how a call is answered."""
        endpoint = _receiver(site)
        _tell(endpoint, self.asked.model_dump())
        self._injected = True
        seen, holds = self._call(endpoint)
        claim = f"a call is answered so: {self.asked.answer}"
        return [now("own-call", claim, seen, holds)]

    def heal(self, site: Site) -> list[Evidence]:
        """Read how many calls it struck, and have it answer as usual."""
        if not self._injected:
            return []
        endpoint = _receiver(site)
        struck = int(_ask(endpoint, "state").get("struck", 0))
        _tell(endpoint, {})
        return [now("receiver", "calls were answered so", f"{struck} calls", struck > 0)]

    def _call(self, endpoint: Endpoint) -> tuple[str, bool]:
        """Return what a call that is not recorded meets, and whether it is what was asked."""
        asked, begin = self.asked, time.monotonic()
        answer = http_client.ask(endpoint.direct["url"], asked.delay_s + _ANSWERS_WITHIN_S)
        took_s = time.monotonic() - begin
        seen = f"{answer.status if answer else 'no answer'} after {took_s:.3f} s"
        if asked.answer == "away":
            return seen, answer is None and took_s < asked.delay_s + _ANSWERS_WITHIN_S
        if asked.answer == "refuse":
            return seen, answer is not None and answer.status == asked.status
        return seen, answer is not None and answer.ok and took_s >= asked.delay_s


def _receiver(site: Site) -> Endpoint:
    if "webhook" not in site.endpoints:
        raise FaultError("webhook needs a target that calls the harness's receiver of webhooks")
    return site.endpoints["webhook"]


def _tell(endpoint: Endpoint, how: dict[str, Any]) -> None:
    _ask(endpoint, "behave", json.dumps(how).encode())


def _ask(endpoint: Endpoint, what: str, body: bytes | None = None) -> dict[str, Any]:
    """Return the receiver's answer to a question, or to a command with a body.

    Raises:
        FaultError: it does not answer.
    """
    answer = http_client.ask(
        f"{endpoint.direct['control']}/{what}",
        _ANSWERS_WITHIN_S,
        method="GET" if body is None else "POST",
        body=body,
        headers={"Authorization": f"Bearer {endpoint.direct['password']}"},
    )
    found = None if answer is None or not answer.ok else answer.json_object()
    if found is None:
        raise FaultError("the receiver of webhooks does not answer the one who commands it")
    return found
