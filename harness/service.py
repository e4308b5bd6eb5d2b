"""What a real server (PostgreSQL, Redis, Kafka, Toxiproxy) must tell a runtime.

A service is one file in ``services/``; a runtime starts it without knowing which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.model import Address


@dataclass(frozen=True, slots=True)
class Slot:
    """The place a runtime gives one server in one run.

    Attributes:
        folder: private and empty at first; the server's data and configuration.
        listen: where the server must listen.
        advertised: where other parts of the run reach it; differs from ``listen``
            when a proxy stands in between (Kafka tells its clients this address).
        password: random for this run; the server must demand it where it can.
    """

    folder: Path
    listen: Address
    advertised: Address
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How a server is started as a plain process.

    Attributes:
        argv: absolute path of the binary and its arguments.
        environment: variables added to a minimal environment.
        stop_signal: signal number of a clean stop.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = 15


class Service(Protocol):
    """One kind of real server."""

    name: str
    """The name by which target files ask for it, e.g. ``postgres``."""

    unprivileged: bool
    """True when the server refuses to run as root."""

    def install(self, say: Callable[[str], None]) -> None:
        """Bring the server into the cache unless it is there; verify checksums.

        Args:
            say: called with one short line per step that takes time.

        Raises:
            CacheError: it could not be downloaded, built or verified.
        """

    def missing(self) -> str | None:
        """Return one sentence saying what is not installed, or None."""

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

    def ready(self, slot: Slot) -> bool:
        """Ask the server itself whether it serves; return False while it does not."""

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return what a target file may interpolate, for a client at ``address``.

        Always ``host``, ``port``, ``address`` and ``password``; ``url`` where the
        server has a customary one.
        """
