"""The processes that a dispatcher is made of, as its target file describes them."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from lossmeter.plan.http import UrlPath
from lossmeter.plan.tables import Table

Seconds = Annotated[float, Field(ge=0, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]
Command = Annotated[tuple[str, ...], Field(min_length=1)]

ALONE = "target"
"""The name of the one process of a target that has ``[start]``."""
MOST = 32
RUNS_S = 1.0
"""How long a process that can be asked nothing must run to count as healthy."""
LEAST_GRACE_S = 2
"""What a kubelet gives before SIGKILL, whatever is asked, and again where preStop took all of it;
other runtimes give nothing. minimumGracePeriodInSeconds in pkg/kubelet/kuberuntime."""
USUAL_SIGNAL = "SIGTERM"
STOP_SIGNALS = (USUAL_SIGNAL, "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")
# Logs of the harness's own processes stand beside those of the target's.
_OF_OTHERS = re.compile(r"\{([a-z][a-z0-9-]*)\.[a-z_]+\}")
_TAKEN = ("load", "ingress-trial", "prometheus", "toxiproxy")


class Start(Table):
    """How to start the dispatcher as a process or container of the harness.

    ``command`` and ``environment`` may interpolate ``{python}``, ``{host}``, ``{port}``,
    ``{instance}``, which tells several of them apart and is the same after a restart (a
    number from 0, in a cluster the pod's name), and of each server in ``services`` e.g.
    ``{postgres.url}`` or ``{redis.address}``; of another process ``{NAME.url}``,
    ``{NAME.host}`` and ``{NAME.port}``: where there are several the first one's, in a cluster
    those of the service in front of them.
    """

    command: Command
    environment: dict[str, str] = Field(default_factory=dict)
    port: Port | None = None
    ready_s: Seconds = 30.0

    @property
    def texts(self) -> tuple[str, ...]:
        """Return what may interpolate."""
        return (*self.command, *self.environment.values())

    @property
    def listens(self) -> bool:
        """Return whether it is given a port."""
        return self.port is not None or any("{port}" in text for text in self.texts)


class Health(Table):
    """When a process counts as healthy: exactly one of these.

    ``http``: its port answers 200 on this path. ``tcp``: its port takes connections.
    ``command``: this ends with 0; it may interpolate what the process's own command may.
    ``log``: a line with this text is in its log since it was started. ``runs_s``: it has run
    for so long.
    """

    http: UrlPath | None = None
    tcp: Literal[True] | None = None
    command: Command | None = None
    log: Annotated[str, Field(min_length=1)] | None = None
    runs_s: Seconds | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(given := self.model_dump(exclude_none=True)) != 1:
            kinds = ", ".join(Health.model_fields)
            raise ValueError(f"give exactly one of {kinds}; got {', '.join(given) or 'none'}")
        return self

    @property
    def at_port(self) -> bool:
        """Return whether it asks at the process's port."""
        return self.http is not None or self.tcp is not None


class Container(Table):
    """How the dispatcher, or one process of it, runs in a container, by the command it has.

    ``build`` is a folder with a Dockerfile, relative to the target file; it is given the
    build argument ``BASE``, Debian with the certificates of this machine. ``image`` is an
    image that exists. ``{port}`` is ``port`` there and ``{python}`` is ``python``. Without
    either the image is made from the target's ``environment`` and the process's ``folder``;
    ``{python}`` is then the interpreter of that environment.
    """

    build: Path | None = None
    image: str | None = None
    port: Port = 8080
    python: str = "python3"
    memory_mib: Annotated[int, Field(ge=16, le=65536)] = 512
    read_only: bool = True

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.build is not None and self.image is not None:
            raise ValueError("give one of build (a folder) and image (a name), not both")
        return self

    @property
    def by_itself(self) -> bool:
        """Return whether its image is made from the target's environment."""
        return self.build is None and self.image is None


class Process(Start):
    """One of the processes of a dispatcher, or several alike.

    ``name`` is that of its log and its host name in containers; of ``count`` alike the first
    is NAME-0. It has a port if its command or environment asks for ``{port}``, or ``port``
    fixes one. ``health`` is by default that of ``[http]`` for the process that takes requests,
    ``tcp`` for others with a port, and else to run for a second. ``stop_signal`` asks it to
    end; ``grace_s`` is how long it is given then, where a fault does not say. ``folder`` is
    its working folder, relative to the target file; in a container the image names that, and
    one that is made from the target's ``environment`` has a copy of it.
    ``container`` is for one with an image of its own, in place of the target's ``[container]``.
    """

    name: Annotated[str, Field(max_length=MOST)]
    count: Annotated[int, Field(ge=1, le=64)] = 1
    health: Health | None = None
    stop_signal: str = USUAL_SIGNAL
    grace_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    folder: Path | None = None
    container: Container | None = None

    @field_validator("name")
    @classmethod
    def _fit(cls, name: str) -> str:
        plain = name.replace("-", "")
        lower = name == name.lower() and name[0].isalpha() and not name.endswith("-")
        if not (plain.isascii() and plain.isalnum() and lower):
            raise ValueError(f"{name!r} is no name of a process; right is e.g. 'web' or 'mail-out'")
        if name.rpartition("-")[2].isdecimal():
            raise ValueError(f"{name!r} ends in a number, as instances do; use count for several")
        if name in _TAKEN:
            raise ValueError(f"{name!r} is the name of a log of the harness; choose another")
        return name

    @field_validator("stop_signal")
    @classmethod
    def _asks(cls, name: str) -> str:
        if name not in STOP_SIGNALS:
            raise ValueError(f"{name!r} does not ask to end; right is {', '.join(STOP_SIGNALS)}")
        return name

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.health is not None and (self.health.runs_s or 0) >= self.ready_s:
            raise ValueError(
                f"process {self.name}: health.runs_s is {self.health.runs_s:g}, and ready_s, "
                f"within which it must be healthy, is {self.ready_s:g}"
            )
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """Return what may interpolate."""
        asked = self.health.command or () if self.health else ()
        return (*super().texts, *asked)

    @property
    def signal(self) -> signal.Signals:
        """Return the signal that asks it to end."""
        return signal.Signals[self.stop_signal]

    def instances(self, count: int) -> list[str]:
        """Return the names of so many of it."""
        return [self.name] if count == 1 else [f"{self.name}-{n}" for n in range(count)]


def check_together(processes: tuple[Process, ...], services: tuple[str, ...]) -> None:
    """Check that processes can be told apart, and that what they name of each other exists.

    Raises:
        ValueError: they cannot, or it does not.
    """
    names = [each.name for each in processes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"process {name!r} is there {names.count(name)} times; names differ")
        if name in services:
            raise ValueError(f"process {name!r} has the name of a server; choose another")
    ports = [each.port for each in processes if each.port is not None]
    for port in ports:
        if ports.count(port) > 1:
            raise ValueError(f"port {port} is fixed for {ports.count(port)} processes")
    known = {*services, *(each.name for each in processes if each.listens)}
    for each in processes:
        _check_alone(each, known)


def _check_alone(process: Process, known: set[str]) -> None:
    called = f"process {process.name}"
    for found in (each for text in process.texts for each in _OF_OTHERS.finditer(text)):
        if found[1] not in known:
            raise ValueError(
                f"{called}: {found[0]} is of neither a server of services nor a process with "
                f"a port; known are {', '.join(sorted(known)) or 'none'}"
            )
    if process.health is not None and process.health.at_port and not process.listens:
        raise ValueError(
            f"{called}: health asks at its port, and it has none; name {{port}} in its command or "
            "environment"
        )
    if process.folder is not None and not process.folder.is_dir():
        raise ValueError(f"{called}: there is no folder {process.folder}")


def front_of(processes: tuple[Process, ...], named: str | None, *, fed: bool) -> Process:
    """Return the process that takes requests: the one that is named, or the first with a port.

    Args:
        processes: of the target.
        named: the one that its file names.
        fed: events come by an ingress, so there need not be any; then it is the first.

    Raises:
        ValueError: there is none.
    """
    for each in processes:
        if each.listens and named in {None, each.name}:
            return each
    if named is None and fed:
        return processes[0]
    if named is None:
        raise ValueError(
            "no process has a port; name {port} in the command or environment of the one that "
            "takes requests, or say in [ingress] how events come without one"
        )
    if named in {each.name for each in processes}:
        raise ValueError(f"http.process {named!r} has no port; name {{port}} in its command")
    names = ", ".join(each.name for each in processes)
    raise ValueError(f"http.process {named!r} is none of the processes, which are {names}")


def described(
    start: Start | None, processes: tuple[Process, ...], front: str, path: str | None
) -> tuple[Process, ...]:
    """Return all processes, each with its health; one that is called ``ALONE`` for ``start``.

    Args:
        start: as the target's file says, and
        processes: likewise.
        front: the name of the one that takes requests.
        path: on which that says that it is up; None where none takes requests.
    """
    health = Health(runs_s=RUNS_S) if path is None else Health(http=path)
    if start is not None:
        return (Process(name=ALONE, health=health, **start.model_dump()),)
    return tuple(
        each if each.health else each.model_copy(update={"health": _usual(each, front, health)})
        for each in processes
    )


def _usual(process: Process, front: str, health: Health) -> Health:
    if process.name == front:
        return health
    return Health(tcp=True) if process.listens else Health(runs_s=RUNS_S)
