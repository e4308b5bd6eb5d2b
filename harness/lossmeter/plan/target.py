"""A target as data: one TOML file says how a dispatcher is started, spoken to and audited.

Nothing here knows the reference dispatcher: a file for a dispatcher of one's own uses the
same words. ``targets/`` holds the shipped ones, each commented. A file that ``extends``
another says only what differs: tables are laid over each other, everything else is replaced.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from lossmeter.errors import UsageError
from lossmeter.model import AckLevel
from lossmeter.plan.behaviour import Behaviour
from lossmeter.plan.environment import Environment
from lossmeter.plan.http import Http, UrlPath
from lossmeter.plan.processes import (
    ALONE,
    Container,
    Process,
    Start,
    check_together,
    described,
    front_of,
)
from lossmeter.plan.project import SHIPPED
from lossmeter.plan.queued import check_in_time
from lossmeter.plan.tables import Table, first_problem, read_tables
from lossmeter.plugins import known_extra, unknown

# A run's folder bears the names of experiment, variant and target within 255 bytes.
MAX_NAME = 64
_URL = re.compile(r"(?i:https?)://(?P<host>\[[^]/@]+]|[^][/@:?#]+):(?P<port>[0-9]{1,5})/?")


class Attach(Table):
    """A dispatcher that already runs, on this machine's loopback."""

    url: str

    @field_validator("url")
    @classmethod
    def _loopback(cls, url: str) -> str:
        # No message repeats what may hold a password, wherever in it that stands.
        found = _URL.fullmatch(url)
        if found is None or int(found["port"]) > 65535:
            raise ValueError(
                "it is not of the form http://127.0.0.1:PORT; a path before all others is "
                "http.base, and a login belongs in http.headers"
            )
        host = found["host"].strip("[]").lower()
        if host != "localhost" and not is_loopback(host):
            raise ValueError(f"{host!r} is not on this machine's loopback; use 127.0.0.1")
        return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host is an address of the loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Persisted(Table):
    """Where the auditor reads what was persisted: around every proxy.

    ``kind`` names the file of ``world/stores`` that says what else may stand in the table.
    ``dead_letter_file`` is a file in ``{run_folder}`` with a JSON object a line, each with
    ``producer`` and ``sequence``. ``remove`` is a command that takes events out of the store, a
    line ``PRODUCER SEQUENCE`` each, so that a loss of a known number can be planted.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str = "postgres"
    dead_letter_file: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    quiet_s: Annotated[float, Field(gt=0, le=300)] = 1.0
    settle_limit_s: Annotated[float, Field(gt=0, le=1800)] = 90.0
    remove: tuple[str, ...] = ()

    @property
    def table(self) -> dict[str, Any]:
        """Return the kind with what stands in the table for it alone."""
        return {"kind": self.kind, **(self.model_extra or {})}

    @property
    def database(self) -> str:
        """Return the server of a PostgreSQL store: one of ``services``, or a URL."""
        return str(self.table.get("database", "postgres")) if self.kind == "postgres" else ""


class DeadLetters(Table):
    """How dead letters come back, for ``lossmeter replay``.

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


class Target(Table):
    """One dispatcher with its settings, servers, health and audit.

    ``stages``: it marks each event's stage in ``{run_folder}``, as ``lossmeter.record.mark_format``
    describes; a run in which it does not is an error of the instrument.
    ``ingress`` says how events are handed over where it is not by HTTP, and ``queue`` how the
    length of its queue is read where it does not report it: ``kind`` and what that kind takes,
    ``pending`` for the ids of what is in it, and ``redelivered_after_s``: see ``plan.queued``.
    ``environment`` names the locks of packages of its own, which are brought before a run; a
    process that names no image runs in a container with the same packages.
    ``tuned``: the settings with which it keeps its highest rates, by their names in
    ``settings``, for experiments that compare each target at its best.
    ``extras`` are those of lossmeter that its own program needs, where ``{python}`` runs it.
    ``remedy_of`` is the target that it mends, beside which tables show it; empty for none.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=MAX_NAME)]
    summary: str
    ack_level: AckLevel
    services: tuple[str, ...] = ()
    proxied: tuple[str, ...] = ()
    servers: dict[str, dict[str, str]] = Field(default_factory=dict)
    environment: Environment | None = None
    start: Start | None = None
    process: tuple[Process, ...] = ()
    attach: Attach | None = None
    container: Container | None = None
    http: Http = Http()
    ingress: dict[str, Any] | None = None
    queue: dict[str, Any] | None = None
    persisted: Persisted
    dead_letters: DeadLetters = DeadLetters()
    behaviour: Behaviour = Behaviour()
    settings: dict[str, str] = Field(default_factory=dict)
    tuned: dict[str, str | int | float] = Field(default_factory=dict)
    stages: bool = False
    extras: tuple[Annotated[str, AfterValidator(known_extra)], ...] = ()
    remedy_of: str = ""

    @model_validator(mode="after")
    def _mends_another(self) -> Self:
        if self.remedy_of == self.name:
            raise ValueError("remedy_of names the target itself; right is the one that it mends")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(map(bool, (self.start, self.process, self.attach))) != 1:
            raise ValueError(
                "give exactly one of [start] (one process), [[process]] (several) and "
                "[attach] (a url)"
            )
        if self.attach and self.container:
            raise ValueError("an attached dispatcher runs already; remove [container]")
        if self.attach and urlsplit(self.attach.url).scheme != self.http.scheme:
            raise ValueError(
                f"attach.url {self.attach.url} is not {self.http.scheme}: https and [http.tls] "
                "with the file of its CA need each other"
            )
        if self.attach and self.services:
            raise ValueError("an attached dispatcher brings its own servers; remove services")
        if stray := set(self.proxied) - set(self.services):
            raise ValueError(f"proxied names {min(stray)!r}, which services does not list")
        if stray := set(self.servers) - set(self.services):
            raise ValueError(f"servers names {min(stray)!r}, which services does not list")
        place = self.persisted.database
        url = place.startswith(("postgresql://", "postgres://"))
        if place and place not in self.services and not url:
            raise ValueError(
                f"persisted.database {place!r} is neither one of services nor a postgresql:// URL"
            )
        if stray := set(self.tuned) - set(self.settings):
            raise ValueError(f"tuned names {min(stray)!r}, which settings does not map")
        self._check_images()
        check_together(self.process, self.services)
        if self.process:
            front_of(self.process, self.http.process, fed=self.ingress is not None)
        check_in_time(self.queue, self.persisted.quiet_s, self.persisted.settle_limit_s)
        return self

    def _check_images(self) -> None:
        for each in (self.container, *(process.container for process in self.process)):
            if self.environment is None and each is not None and each.by_itself:
                raise ValueError(
                    "[container] needs build (a folder), image (a name), or in the file an "
                    "environment from which an image is made"
                )

    @property
    def processes(self) -> tuple[Process, ...]:
        """Return what it is made of, in the order of their starts; nothing of an attached one."""
        path = self.http.is_up if self.takes_requests else None
        return described(self.start, self.process, self.front, path)

    @property
    def front(self) -> str:
        """Return the name of the process that takes requests; where none does, of the first."""
        if not self.process:
            return ALONE
        return front_of(self.process, self.http.process, fed=self.ingress is not None).name

    @property
    def takes_requests(self) -> bool:
        """Return whether it speaks HTTP; workers that an ingress feeds need not."""
        made = (self.start, *self.process)
        return self.ingress is None or self.attach is not None or any(p.listens for p in made if p)

    def count_of(self, process: Process, instances: int = 1) -> int:
        """Return how many run of a process, where so many are asked for that take requests."""
        return max(process.count, instances if process.name == self.front else 1)

    def container_of(self, process: Process) -> Container:
        """Return how a process runs in a container.

        Raises:
            UsageError: its file does not say.
        """
        found = process.container or self.container
        if found is None and self.environment is None:
            whose = "" if self.start else f", process {process.name}"
            raise UsageError(
                f"target {self.name}{whose} does not say how it runs in a container; give its "
                "file a [container] with build or image, or an environment, from which an image "
                "is made; or use --runtime local"
            )
        return found or Container()

    @property
    def own_python(self) -> bool:
        """Return whether ``{python}`` is the interpreter of its own environment."""
        return self.environment is not None and self.environment.python is not None

    @property
    def reports_queue(self) -> bool:
        """Return whether the length of its queue is known while it runs."""
        return self.http.state is not None or self.queue is not None


def checked_url(url: str) -> str:
    """Return the base URL of a dispatcher on this machine, without a slash at its end.

    Raises:
        UsageError: it is none.
    """
    try:
        return Attach(url=url).url
    except ValidationError as error:
        raise UsageError(first_problem(error)) from None


def load_target(path: Path, also: Sequence[Path] = ()) -> Target:
    """Read and check one target file.

    Args:
        path: of the file.
        also: folders in which what it extends by name is looked for, after its own folder
            and before what is shipped.

    Raises:
        UsageError: the file or what it extends is missing, not TOML, or says something
            impossible.
    """
    tables = _tables(path, (), (*also, SHIPPED / "targets"))
    # What a variant of a target does not want to be set any more is set to nothing.
    settings = tables.get("settings")
    if isinstance(settings, dict):
        tables["settings"] = {name: value for name, value in settings.items() if value != ""}
    try:
        return Target.model_validate(tables)
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error)}") from None


def target_files(path: Path, also: Sequence[Path] = ()) -> list[Path]:
    """Return the file of a target, and those that it extends; for ``also`` see ``load_target``.

    Raises:
        UsageError: one is missing or not TOML.
    """
    found = [path]
    while isinstance(base := read_tables(found[-1]).get("extends"), str):
        under = _base(found[-1], base, (*also, SHIPPED / "targets"))
        if under in found:
            break
        found.append(under)
    return found


def is_target_file(path: Path) -> bool:
    """Return whether a file has the shape of a target, right or wrong; others are not ours."""
    try:
        tables = read_tables(path)
    except UsageError:
        return False
    return isinstance(tables.get("persisted"), dict) or isinstance(tables.get("extends"), str)


def _tables(path: Path, extended_by: tuple[Path, ...], also: Sequence[Path]) -> dict[str, Any]:
    """Return the tables of a file, laid over those of the file that it extends."""
    tables = read_tables(path, "target file")
    if isinstance(ingress := tables.get("ingress"), dict):
        ingress.setdefault("folder", ".")
    if isinstance(store := tables.get("persisted"), dict) and store.get("kind") == "command":
        store.setdefault("folder", ".")
    for place, name in _paths(tables):
        if isinstance(place, dict) and isinstance(place.get(name), str):
            # Found beside the file that names it, whichever file extends that.
            place[name] = str((path.parent / place[name]).expanduser().resolve())
    base = tables.pop("extends", None)
    if base is None:
        return tables
    found = _base(path, base, also)
    chain = (*extended_by, path)
    if found.resolve() in [each.resolve() for each in chain]:
        names = " extends ".join(each.name for each in (*chain, found))
        raise UsageError(f"{path}: extends goes round in a circle: {names}")
    under = _tables(found, chain, also)
    if "process" in tables or "start" in tables:
        # The one takes the place of the other.
        under.pop("start" if "process" in tables else "process", None)
    return _laid_over(under, tables)


def _paths(tables: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield what may name a file or folder: the table, right or wrong, and the key in it."""
    yield tables.get("container"), "build"
    yield from ((tables.get("environment"), kind) for kind in Environment.model_fields)
    yield tables.get("ingress"), "folder"
    yield tables.get("persisted"), "folder"
    processes = tables.get("process")
    for each in processes if isinstance(processes, list) else ():
        yield each, "folder"
        yield (each.get("container") if isinstance(each, dict) else None), "build"
    http = tables.get("http")
    if isinstance(http, dict):
        yield http.get("tls"), "ca"
        for name in ("headers", "query"):
            values = http.get(name)
            yield from ((v, "file") for v in values.values()) if isinstance(values, dict) else ()


def _base(path: Path, base: object, also: Sequence[Path]) -> Path:
    """Return the file that a target extends: by name beside it or in ``also``, or by path."""
    if not isinstance(base, str) or not base:
        raise UsageError(f"{path}: extends is {base!r}; right is the name of a target, in quotes")
    if base.endswith(".toml"):
        if not (path.parent / base).is_file():
            raise UsageError(f"{path}: extends: target file {path.parent / base} does not exist")
        return path.parent / base
    # A file may extend the shipped one that it takes the place of.
    files = [
        file
        for folder in (path.parent, *also)
        for file in sorted(folder.glob("*.toml"))
        if file.resolve() != path.resolve()
    ]
    for file in files:
        if file.stem == base:
            return file
    if base == path.stem:
        return path
    raise UsageError(f"{path}: extends: {unknown('target', base, {f.stem for f in files})}")


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        under = merged.get(name)
        both = isinstance(under, dict) and isinstance(value, dict)
        merged[name] = _laid_over(under, value) if both and under is not None else value
    return merged
