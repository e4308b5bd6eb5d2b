"""What a real server (PostgreSQL, Redis, Kafka, Toxiproxy) must tell a runtime.

A service is one file in ``services/``; a runtime starts it without knowing which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world.site import LogLine, ProxyControl
from lossmeter.world.waiting import wait_for

REPORTED = 3
# One that stood still for a moment, on a busy machine, may have to find itself again.
ANSWERS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Slot:
    """The place a runtime gives one server for as long as it is kept.

    Attributes:
        folder: private and empty at first; the server's data and configuration.
        listen: where the server must listen.
        advertised: where other parts of the run reach it; differs from ``listen``
            when a proxy stands in between (Kafka tells its clients this address).
        password: random; the server must demand it where it can.
        settings: those of the server's own that this run changes, checked beforehand.
        further: where the ports beside ``listen`` are, by their names; see ``ListensFurther``.
    """

    folder: Path
    listen: Address
    advertised: Address
    password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    further: Mapping[str, Address] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How a server is started as a plain process.

    Attributes:
        argv: absolute path of the binary and its arguments.
        stop_signal: signal number of a clean stop.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = 15


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the image of a server is built, on top of the base image.

    Attributes:
        name: of the image, without project and tag.
        folder: holds the Dockerfile and what else it copies; it is given the build
            argument ``BASE``.
        extra: more for the build context: its name there, and the file or folder on this
            machine. Folders belong to the cache: their name tells their content.
        version: tells apart what is big and has the same name and size.
    """

    name: str
    folder: Path
    extra: Mapping[str, Path] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """How a server is started as a container, of our image or of the customary public one.

    Attributes:
        published: the port inside that is published at the slot's ``listen``; it differs
            from the service's ``port`` where the server tells its clients an address, and
            so needs a listener for each.
        environment: as the public image documents it.
        command: arguments; empty for the image's own.
        files: read-only files or folders: path inside, path on this machine.
        data: path inside of what the server must keep; a volume of the run.
        writable: other paths inside that it writes to; they are in memory.
        memory_mib: limit of memory, swap included.
        stop_signal: name of the signal of a clean stop.
    """

    published: int
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    data: str | None = None
    writable: tuple[str, ...] = ("/tmp",)  # noqa: S108 - inside the container
    memory_mib: int = 512
    stop_signal: str = "SIGTERM"


class Service(Protocol):
    """One kind of real server."""

    name: str
    """The name by which target files ask for it, e.g. ``postgres``."""

    needs: tuple[str, ...]
    """What the harness imports for it that an extra brings, see ``lossmeter.plugins``."""

    unprivileged: bool
    """True when root starts it as a user without rights, since it refuses root or needs none."""

    port: int
    """Where it listens for other containers, when it runs in one."""

    question: bytes
    """The shortest that its protocol answers before anybody logs in."""

    log_lines: Mapping[LogLine, str]
    """What it writes into its log after an end that was none of its own; empty for nothing."""

    settings: Mapping[str, tuple[str, ...]]
    """What a target or an experiment may set, and to what; the first is the default."""

    def install(self, say: Callable[[str], None]) -> None:
        """Bring the server into the cache unless it is there; verify checksums.

        Args:
            say: called with one short line per step that takes time.

        Raises:
            CacheError: it could not be downloaded, built or verified.
        """

    def missing(self) -> str | None:
        """Return one sentence saying what is not installed, or None."""

    def unfit(self) -> str | None:
        """Return why this machine or user cannot run it, whatever is downloaded; or None."""

    def version(self) -> str:
        """Return name and version of the installed server, e.g. ``PostgreSQL 18.6``."""

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Create the data folder and configuration before the first start.

        Args:
            slot: the server's place.
            run: runs a command to its end as the server's user; raises ServiceError
                with the last lines of its output when it fails.
        """

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how the server is started as a process."""

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return how its image is built; brings what the image takes from the cache.

        Raises:
            CacheError: that could not be downloaded, built or verified.
        """

    def container(self, slot: Slot) -> ContainerSpec:
        """Write its configuration into the slot's folder and return how it is started.

        Here ``slot.listen`` is the published port on this machine, and ``advertised`` is
        where the other containers reach it.
        """

    def running_version(self, slot: Slot) -> str | None:
        """Ask the server itself for name and version; None when it does not tell."""

    def ready(self, slot: Slot) -> bool:
        """Ask the server itself whether it serves; return False while it does not.

        Raises:
            UsageError: it serves, but is another server than was asked for.
        """

    def reset(self, slot: Slot) -> None:
        """Remove all that a run left in it, and end what a run's clients left open.

        Raises:
            ServiceError: it does not answer, or would not let go of something.
        """

    def contents(self, slot: Slot) -> frozenset[str]:
        """Describe all that a run could leave in it, one line for each thing.

        A server that was emptied says exactly what it said when it was new.

        Raises:
            ServiceError: it does not answer.
        """

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return what a target file may interpolate, for a client at ``address``.

        Always ``host``, ``port``, ``address`` and ``password``; ``url`` where the
        server has a customary one.
        """


@runtime_checkable
class ProxyService(Service, Protocol):
    """The server that holds the proxies in front of others."""

    def control(self, slot: Slot) -> ProxyControl:
        """Return what commands it, by its place."""


@runtime_checkable
class KnowsLifetime(Protocol):
    """A server that tells one of its lifetimes from another, also within one main process."""

    crash_signs: tuple[str, ...]
    """What stands in the lines of its log that tell of a crash or a restart."""

    def lifetime(self, slot: Slot) -> str | None:
        """Ask the server which lifetime it is in; None when it does not answer."""


@runtime_checkable
class ListensFurther(Protocol):
    """A server with more ports than that of its protocol, for the harness alone."""

    further: Mapping[str, int]
    """Of each, by its name, the number that it has in a container."""


@runtime_checkable
class SendsOn(Protocol):
    """A server that sends its clients on to the address that it advertises, as Kafka does.

    That is the target's way to it, through its proxy. Who is elsewhere cannot follow, and goes
    around the proxy.
    """

    sends_on: bool


@runtime_checkable
class Watermarked(Protocol):
    """A server that takes nothing more from publishers when its memory is above a watermark.

    Each raises ServiceError when the server does not answer, or refuses.
    """

    def alarms(self, slot: Slot) -> frozenset[str]:
        """Ask it which resources it is short of, e.g. ``memory``."""

    def blocked(self, slot: Slot) -> str:
        """Publish something that nobody gets, and return why it waits; empty when it is taken."""

    def set_watermark(self, slot: Slot, limit_bytes: int | None) -> None:
        """Set the watermark until the server ends; None sets what it was when it began."""


def further_of(service: object) -> Mapping[str, int]:
    """Return the further ports of a server, by their names."""
    return service.further if isinstance(service, ListensFurther) else {}


def located(address: Address, **more: str) -> dict[str, str]:
    """Return the variables that every server has, which say where it is, and some more."""
    return {
        "host": address.host,
        "port": str(address.port),
        "address": str(address),
        **more,
    }


def renew(service: Service, slot: Slot, as_new: frozenset[str]) -> None:
    """Empty a server that has served a run, and make sure of it.

    Raises:
        ServiceError: something is left, or missing, or it does not answer.
    """
    _check_serves(service, slot)
    service.reset(slot)
    _compare(service, slot, as_new)


def check_as_new(service: Service, slot: Slot, as_new: frozenset[str]) -> None:
    """Make sure that a server has nothing in it that it did not have when it was new.

    Raises:
        ServiceError: as for ``renew``.
    """
    _check_serves(service, slot)
    _compare(service, slot, as_new)


def _compare(service: Service, slot: Slot, as_new: frozenset[str]) -> None:
    now = service.contents(slot)
    differing = [f"still has {line}" for line in sorted(now - as_new)]
    differing += [f"has no {line}" for line in sorted(as_new - now)]
    if differing:
        more = len(differing) - REPORTED
        reported = ", ".join(differing[:REPORTED]) + (f" and {more} more" if more > 0 else "")
        raise ServiceError(f"{service.name}, emptied, is not as when it was new: it {reported}")


def _check_serves(service: Service, slot: Slot) -> None:
    if not wait_for(lambda: service.ready(slot), ANSWERS_WITHIN_S):
        raise ServiceError(f"{service.name} does not serve any more")
