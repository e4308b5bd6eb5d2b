"""What a fault may see: the capability Protocols of a running target.

A runtime returns a ``Site``; which of the capabilities below it has differs between
runtimes. A fault names the ones it needs, and a runtime without them is a named skip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.model import Address, Evidence


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of the target's main process.

    Attributes:
        pid: process id as the host sees it.
        start_ticks: the kernel's start time of that process, clock ticks since boot;
            with the pid it names a process for ever.
        started_ns: wall clock when the runtime started it, nanoseconds.
    """

    pid: int
    start_ticks: int
    started_ns: int


@dataclass(frozen=True, slots=True)
class Exit:
    """How one life of the target ended, as told by who waited for it.

    Attributes:
        code: exit code; 128 + signal number when a signal ended it.
        signal: the signal that ended it, or None.
        at_ns: wall clock when the end was seen, nanoseconds.
        source: who told it, e.g. ``waitpid``.
    """

    code: int
    signal: int | None
    at_ns: int
    source: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One look of the health probe at the target.

    Attributes:
        asked_ns, answered_ns: wall clock around the request, nanoseconds.
        ok: the target answered 200.
        queue_length, in_flight: as the target says; None when it does not.
        boot_id: the target's own name for this life; empty when it has none.
        counters: the other numbers of its state.
    """

    asked_ns: int
    answered_ns: int
    ok: bool
    queue_length: int | None = None
    in_flight: int | None = None
    boot_id: str = ""


class Probe(Protocol):
    """The health probe that watches the target from outside during the whole run."""

    def samples(self) -> Sequence[Sample]:
        """Return all samples so far, oldest first."""

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        """Return the first new sample that is wanted, or None when time is up."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running server of the run.

    Attributes:
        service: its name.
        outside: where the harness itself reaches it, around every proxy.
        variables: what a target file may interpolate, through the proxy if it has one.
        direct: the same for a client that goes around the proxy, as the auditor does.
    """

    service: str
    outside: Address
    variables: Mapping[str, str]
    direct: Mapping[str, str]


@runtime_checkable
class Site(Protocol):
    """A running target with the servers around it."""

    base_url: str
    endpoints: Mapping[str, Endpoint]
    probe: Probe
    folder: Path


@runtime_checkable
class Startable(Protocol):
    """The target's process can be started again after it ended."""

    def incarnation(self) -> Incarnation:
        """Return the present or last life of the target."""

    def start(self) -> Incarnation:
        """Start the target again with the same settings and wait until it is ready.

        Raises:
            TargetError: it did not become ready in time.
        """


@runtime_checkable
class Killable(Startable, Protocol):
    """SIGKILL can be sent to the target's main process."""

    def kill(self) -> Exit:
        """Send SIGKILL and wait for the end of the process."""


class Fault(Protocol):
    """One fault of one run. Built anew for each run, so it may remember what it did."""

    needs: tuple[type, ...]
    """The capabilities without which it cannot be injected."""

    def inject(self, site: Site) -> list[Evidence]:
        """Bring the fault about and return what proves it so far.

        Raises:
            FaultError: it could not be injected.
        """

    def heal(self, site: Site) -> list[Evidence]:
        """End the fault and return what else proves that it was there.

        Must be safe to call when ``inject`` failed half-way.

        Raises:
            FaultError: it could not be healed.
        """


class ProxyControl(Protocol):
    """What a runtime needs of the proxy in front of the servers."""

    def create(self, name: str, listen: Address, upstream: Address) -> None:
        """Put a proxy called ``name`` in front of ``upstream``.

        Raises:
            ServiceError: the proxy server did not take it.
        """
