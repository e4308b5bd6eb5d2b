"""A target as data: one TOML file says how a dispatcher is started, spoken to and audited.

Nothing here knows the reference dispatcher: a file for a dispatcher of one's own uses the
same words. ``targets/`` holds the shipped ones, each commented. A file that ``extends``
another says only what differs: tables are laid over each other, everything else is replaced.
"""

from __future__ import annotations

import ipaddress
import string
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.errors import UsageError
from harness.model import AckLevel
from harness.plugins import unknown

Seconds = Annotated[float, Field(ge=0, le=3600)]
StatusCode = Annotated[int, Field(ge=100, le=599)]
UrlPath = Annotated[str, Field(pattern=r"^/")]

EVENT_FIELDS = ("producer", "sequence", "payload")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Start(_Strict):
    """How to start the dispatcher as a process or container of the harness.

    ``command`` and ``environment`` may interpolate ``{python}``, ``{host}``, ``{port}``,
    ``{instance}``, which tells several of them apart and is the same after a restart (a
    number from 0, in a cluster the pod's name), and of each server in ``services`` e.g.
    ``{postgres.url}`` or ``{redis.address}``.
    """

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    environment: dict[str, str] = {}
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    ready_s: Seconds = 30.0


class Container(_Strict):
    """How the dispatcher runs in a container; ``start.command`` is its command.

    ``build`` is a folder with a Dockerfile, relative to the target file; it is given the
    build argument ``BASE``, Debian with the certificates of this machine. ``image`` is an
    image that exists. ``{port}`` is ``port`` there and ``{python}`` is ``python``.
    """

    build: Path | None = None
    image: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    python: str = "python3"
    memory_mib: Annotated[int, Field(ge=16, le=65536)] = 512
    read_only: bool = True

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.build is None) == (self.image is None):
            raise ValueError("give exactly one of build (a folder) and image (a name)")
        return self


class Attach(_Strict):
    """A dispatcher that already runs, on this machine's loopback."""

    url: str

    @field_validator("url")
    @classmethod
    def _loopback(cls, url: str) -> str:
        parts = urlsplit(url)
        bare = parts.path in {"", "/"} and not parts.query
        if parts.scheme != "http" or not parts.hostname or parts.port is None or not bare:
            raise ValueError(f"{url!r} is not of the form http://127.0.0.1:PORT")
        if parts.hostname != "localhost" and not is_loopback(parts.hostname):
            raise ValueError(f"{url!r} is not on this machine's loopback; use 127.0.0.1")
        return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host is an address of the loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Http(_Strict):
    """How producers and the health probe speak to the dispatcher.

    ``body`` is the JSON of one event with ``$producer``, ``$sequence`` and ``$payload``.
    ``refused`` lists the answers that provably had no effect; every answer that is in
    neither list counts as unknown, never as refused.
    ``state`` answers JSON; ``queue_length`` and ``in_flight`` name its fields, and
    ``without_room`` the count of pushes that found the queue full.
    ``metrics`` is the page that Prometheus reads, for ``harness run --monitor``.
    """

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

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        if both := set(self.accepted) & set(self.refused):
            raise ValueError(f"status {min(both)} is listed both as accepted and as refused")
        return self


class Persisted(_Strict):
    """Where the auditor reads what was persisted: around every proxy.

    ``query`` returns one row per persisted event with the columns ``producer`` and
    ``sequence``, and optionally ``payload_hash`` (first 8 bytes of the payload's MD5 as
    bigint), ``position`` (order of persisting) and ``persisted_at`` (timestamptz).
    ``count_query`` returns one number, how many there are: for tables that are too large for
    ``query`` to be counted a hundred times a second, as the condition ``persisted`` wants.
    ``dead_letter_file`` is a file in ``{run_folder}`` with a JSON object a line, each with
    ``producer`` and ``sequence``.
    """

    database: str = "postgres"
    query: str
    count_query: str | None = None
    dead_letter_query: str | None = None
    dead_letter_file: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    pending_query: str | None = None
    quiet_s: Annotated[float, Field(gt=0, le=300)] = 1.0
    settle_limit_s: Annotated[float, Field(gt=0, le=1800)] = 90.0


class DeadLetters(_Strict):
    """How dead letters come back, for ``harness replay``.

    ``replay`` is a path of the dispatcher that puts them back when it is posted to.
    Where there is none, or the dispatcher is another one: ``query`` returns the letters of a
    table, oldest first, with the columns ``id``, ``producer``, ``sequence`` and what else
    ``http.body`` names; ``remove`` deletes the one that ``%(id)s`` stands for. In a file each
    line is a JSON object with these names.
    """

    replay: UrlPath | None = None
    query: str | None = None
    remove: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.query is None) != (self.remove is None):
            raise ValueError("query and remove need each other")
        if self.remove is not None and "%(id)s" not in self.remove:
            raise ValueError("remove does not name the letter: it has no %(id)s")
        return self


class Behaviour(_Strict):
    """What the prediction knows of the dispatcher.

    ``shutdown`` is what it does after SIGTERM: ``exit`` at once, ``sleep`` for ``sleep_s``
    while it works on, or ``drain`` until it is empty, for ``drain_limit_s`` at most.
    ``when_full`` is what a push does when the queue is full: ``block`` for
    ``push_timeout_s``, ``reject`` at once, or ``write-through`` in the producer's own time;
    ``rate-limit`` lets ``rate_limit_per_s`` through and rejects what is beyond.
    ``retry_attempts`` after a failed handling wait ``retry_base ** i`` seconds each; what
    has failed for good goes into a dead-letter queue of ``dead_letter_capacity``, if any.
    ``database_timeout_s`` is how long an insert waits before it has failed. A slow query's
    answer is kept for ``cache_s``; ``aside`` slow works at once are done after the insert.
    """

    workers: Annotated[int, Field(ge=1)] | None = None
    capacity: Annotated[int, Field(ge=1)] | None = None
    handler_time_s: Seconds | None = None
    push_timeout_s: Seconds | None = None
    queue_survives_crash: bool | None = None
    in_hand_survives_crash: bool | None = None
    shutdown: Literal["exit", "sleep", "drain"] | None = None
    sleep_s: Seconds | None = None
    drain_limit_s: Seconds | None = None
    when_full: Literal["block", "reject", "rate-limit", "write-through"] | None = None
    rate_limit_per_s: Annotated[float, Field(gt=0)] | None = None
    retry_attempts: Annotated[int, Field(ge=0, le=20)] | None = None
    retry_base: Annotated[float, Field(ge=1, le=10)] | None = None
    dead_letter_capacity: Annotated[int, Field(ge=1)] | None = None
    database_timeout_s: Annotated[float, Field(gt=0, le=300)] | None = None
    cache_s: Seconds | None = None
    aside: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.when_full == "rate-limit") != (self.rate_limit_per_s is not None):
            raise ValueError("when_full = 'rate-limit' and rate_limit_per_s need each other")
        return self


class Target(_Strict):
    """One dispatcher with its settings, servers, health and audit.

    ``stages``: it marks each event's stage in ``{run_folder}``, as ``harness.ledger.stages``
    describes; a run in which it does not is an error of the instrument.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    summary: str
    ack_level: AckLevel
    services: tuple[str, ...] = ()
    proxied: tuple[str, ...] = ()
    servers: dict[str, dict[str, str]] = {}
    start: Start | None = None
    attach: Attach | None = None
    container: Container | None = None
    http: Http = Http()
    persisted: Persisted
    dead_letters: DeadLetters = DeadLetters()
    behaviour: Behaviour = Behaviour()
    settings: dict[str, str] = {}
    stages: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.start is None) == (self.attach is None):
            raise ValueError("give exactly one of [start] (a command) and [attach] (a url)")
        if self.attach and self.container:
            raise ValueError("an attached dispatcher runs already; remove [container]")
        if self.attach and self.services:
            raise ValueError("an attached dispatcher brings its own servers; remove services")
        if stray := set(self.proxied) - set(self.services):
            raise ValueError(f"proxied names {min(stray)!r}, which services does not list")
        if stray := set(self.servers) - set(self.services):
            raise ValueError(f"servers names {min(stray)!r}, which services does not list")
        if self.persisted.database not in self.services and "://" not in self.persisted.database:
            raise ValueError(
                f"persisted.database {self.persisted.database!r} is neither one of services "
                "nor a postgresql:// URL"
            )
        return self


def checked_url(url: str) -> str:
    """Return the base URL of a dispatcher on this machine, without a slash at its end.

    Raises:
        UsageError: it is none.
    """
    try:
        return Attach(url=url).url
    except ValidationError as error:
        raise UsageError(first_problem(error)) from None


def load_target(path: Path) -> Target:
    """Read and check one target file.

    Raises:
        UsageError: the file or what it extends is missing, not TOML, or says something
            impossible.
    """
    tables = _tables(path, ())
    # What a variant of a target does not want to be set any more is set to nothing.
    settings = tables.get("settings")
    if isinstance(settings, dict):
        tables["settings"] = {name: value for name, value in settings.items() if value != ""}
    try:
        return Target.model_validate(tables)
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error)}") from None


def _tables(path: Path, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    """Return the tables of a file, laid over those of the file that it extends."""
    tables = _read(path)
    base = tables.pop("extends", None)
    if base is None:
        return tables
    return _laid_over(_tables(_base(path, base, extended_by), (*extended_by, path)), tables)


def _read(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"target file {path} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    container = tables.get("container")
    if isinstance(container, dict) and isinstance(container.get("build"), str):
        # Found beside the file that names it, whoever extends that.
        container["build"] = str((path.parent / container["build"]).resolve())
    return tables


def _base(path: Path, base: object, extended_by: tuple[Path, ...]) -> Path:
    """Return the file that a target extends: by its name beside it, or by its path."""
    if not isinstance(base, str) or not base:
        raise UsageError(f"{path}: extends is {base!r}; right is the name of a target, in quotes")
    if base.endswith(".toml"):
        found = path.parent / base
    else:
        known = [other.stem for other in path.parent.glob("*.toml") if other != path]
        if base not in known and base != path.stem:
            raise UsageError(f"{path}: extends: {unknown('target', base, known)}")
        found = path.parent / f"{base}.toml"
    chain = [each.resolve() for each in (*extended_by, path)]
    if found.resolve() in chain:
        names = " extends ".join(each.name for each in (*extended_by, path, found))
        raise UsageError(f"{path}: extends goes round in a circle: {names}")
    if not found.is_file():
        raise UsageError(f"{path}: extends: target file {found} does not exist")
    return found


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        under = merged.get(name)
        both = isinstance(under, dict) and isinstance(value, dict)
        merged[name] = _laid_over(under, value) if both and under is not None else value
    return merged


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation as one sentence: where and what."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
