"""``[http]`` of a target file: how producers and the health probe speak to the dispatcher."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from lossmeter.plan.tables import Table

StatusCode = Annotated[int, Field(ge=100, le=599)]
UrlPath = Annotated[str, Field(pattern=r"^/[!-~]*$")]

EVENT_FIELDS = ("producer", "sequence", "payload")

# Written by the load itself, so that it knows where a request ends.
_FRAMING = {"host", "content-length", "transfer-encoding", "connection", "expect"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


class Secret(Table):
    """A value that stands in no target file and in no result: read when a run begins.

    ``env`` names a variable of the caller's environment, ``file`` a file beside the target
    file, of which the blanks around it do not count; ``prefix`` comes before, e.g. ``"Bearer "``.
    """

    env: str | None = None
    file: Path | None = None
    prefix: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of env (a variable) and file (a path)")
        return self


Given = str | Secret


class Tls(Table):
    """HTTPS: ``ca`` is a file of the certificates that sign the dispatcher's own.

    ``server_name`` is who it is in that certificate, where that is not its address.
    """

    ca: Path
    server_name: str | None = None


class Http(Table):
    """How producers and the health probe speak to the dispatcher.

    ``body`` is the JSON of one event with ``$producer``, ``$sequence`` and ``$payload``.
    ``refused`` lists the answers that provably had no effect; every answer that is in
    neither list counts as unknown, never as refused.
    ``state`` answers JSON; ``queue_length`` and ``in_flight`` name its fields, and
    ``without_room`` the count of pushes that found the queue full. An empty ``queue_length``
    means that the state does not say it; ``[queue]`` may name another place.
    ``metrics`` is the page that Prometheus reads, for ``lossmeter run --monitor``.
    ``base`` comes before every path, and ``headers`` go with every request; ``method`` and
    ``query`` are those of an event. With ``tls`` all of it is HTTPS. ``process`` is the one that
    takes requests; by default the first that has a port.
    """

    process: str | None = None
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    base: Annotated[str, Field(pattern=r"^(/[!-~]*[!-.0-~])?$")] = ""
    headers: dict[str, Given] = Field(default_factory=dict)
    query: dict[str, Given] = Field(default_factory=dict)
    tls: Tls | None = None
    events: UrlPath = "/events"
    health: UrlPath = "/healthz"
    ready: UrlPath | None = None
    state: UrlPath | None = None
    metrics: UrlPath | None = None
    queue_length: str = "queue_length"
    in_flight: str = "in_flight"
    boot_id: str = "boot_id"
    without_room: str = "counts.without_room"
    body: str = (
        '{"producer": $producer, "sequence": $sequence, "key": "$producer", "payload": "$payload"}'
    )
    accepted: tuple[StatusCode, ...] = (200, 201, 202)
    refused: tuple[StatusCode, ...] = (400, 404, 405, 413, 422, 429)
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0

    @field_validator("body")
    @classmethod
    def _names_the_event(cls, body: str) -> str:
        template = string.Template(body)
        names = set(template.get_identifiers())
        if not template.is_valid() or names - set(EVENT_FIELDS):
            raise ValueError("body may use $producer, $sequence and $payload only")
        if missing := {"producer", "sequence"} - names:
            raise ValueError(f"body does not carry ${min(missing)}: no event could be found again")
        return body

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, Given]) -> dict[str, Given]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in _FRAMING:
                raise ValueError(f"{name} is written by the load itself; remove it")
            if isinstance(value, str):
                check_header(name, value)
        return headers

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        if both := set(self.accepted) & set(self.refused):
            raise ValueError(f"status {min(both)} is listed both as accepted and as refused")
        return self

    @property
    def scheme(self) -> str:
        """Return ``http`` or ``https``."""
        return "https" if self.tls else "http"

    def path(self, path: str) -> str:
        """Return a path of the dispatcher with what comes before."""
        return self.base + path

    @property
    def is_up(self) -> str:
        """Return the path that answers 200 once the dispatcher is up."""
        return self.ready or self.health


def check_header(name: str, value: str) -> None:
    """Raise ValueError, without the value, where one cannot stand in a header."""
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{name}: the value has a line break or a character beyond Latin-1")
