"""What every runtime offers the run: a target with real servers around it, and cleaning up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from lossmeter.model import Address
from lossmeter.plan.target import Target
from lossmeter.record.files import write_text
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.service import ProxyService, Service
from lossmeter.world.site import Probe, Site


@dataclass(frozen=True, slots=True)
class Order:
    """What a runtime is asked to bring up.

    Attributes:
        run_id: unique name of the run; everything started carries it.
        folder: the run's folder; server logs go to its ``logs``.
        target: the dispatcher.
        services: the servers that the target names.
        proxy: the proxy server, when the target wants any of its servers proxied.
        settings: environment variables over those of the target file.
        servers: settings of each server, by its name.
        disks: the servers whose data lie on a disk of their own, that can lose power.
        instances: how many of the target serve side by side.
        grace_s: what an instance that takes requests is given to end, where that must be said
            beforehand: the grace of the run's own faults; None when they have none.
        pre_stop_s: seconds of it before SIGTERM, likewise.
        load_pods: how many load processes will run as pods; 0 when the load comes from here.
        pool: keeps servers from run to run; None where these must be its own. A runtime that
            cannot keep them takes it for None.
        probe: builds the health probe for a base URL.
        say: called with one short line per step.
    """

    run_id: str
    folder: Path
    target: Target
    services: Sequence[Service]
    proxy: ProxyService | None
    settings: Mapping[str, str]
    probe: Callable[[str], Probe]
    say: Callable[[str], None] = field(repr=False)
    servers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    disks: frozenset[str] = frozenset()
    instances: int = 1
    grace_s: float | None = None
    pre_stop_s: float = 0.0
    load_pods: int = 0
    pool: ServerPool | None = None


def in_service(folder: Path) -> Path:
    """Return the file that lists which instances take requests now, one address a line.

    It plays the part of a load balancer's list of healthy upstreams: the runtime that takes
    an instance out of service replaces the file, and the load reads it anew.
    """
    return folder / "in-service.txt"


def serve(folder: Path, addresses: Iterable[str]) -> None:
    """Tell the load which instances take requests from now on."""
    write_text(in_service(folder), "".join(f"{address}\n" for address in addresses))


class HelperProcess(Protocol):
    """A process of the harness's own, such as the load, under the runtime's care."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def kill(self) -> object:
        """End it at once, if it still runs."""


class RunningSite(Site, Protocol):
    """A site as the run sees it, beyond what faults may see."""

    versions: Mapping[str, str]
    """Name and version of each server that runs, by its name; and of the engine."""

    served: int
    """Runs that its servers had served before, were emptied, and found as when new."""

    base_urls: Sequence[str]
    """Where each instance of the target is found; ``base_url`` is the first."""

    def check(self) -> None:
        """Raise when a server ended that no fault touched.

        Raises:
            ServiceError: names the server, its exit code and its log.
        """

    def helper(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str]
    ) -> HelperProcess:
        """Start a process of the harness's own, logged and cleaned up like the rest."""


@runtime_checkable
class ProcessesNamed(RunningSite, Protocol):
    """A site whose processes are this machine's, and known by what they belong to."""

    def processes_by_name(self) -> Mapping[str, Sequence[int]]:
        """Return the ids of those that run now: of the target, each server, each helper.

        Those that descend from one need not be among them.
        """


@runtime_checkable
class LoadInPods(RunningSite, Protocol):
    """A site that can run load processes beside the target."""

    def load_place(self) -> tuple[Address, Address]:
        """Return where they find their master on this machine, and where they find the target.

        Raises:
            UnavailableError: they cannot reach this machine.
        """

    def start_load_pods(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> None:
        """Start as many as the order says.

        Args:
            arguments: for Locust.
            environment: for each.
            folder: inside, that each may write its journal to.
        """


class Runtime(Protocol):
    """One way of running targets and servers."""

    name: str

    preference: int | None
    """How early ``auto`` asks it, the highest first; None where it must be named."""

    restart_s: float
    """How much longer than its first start a restart of the target may take, in seconds:
    what the runtime needs to remove an instance and make the next, on a busy machine."""

    side_by_side: bool
    """Several cells at once are known to be kept apart, so that each is judged as if alone."""

    def unavailable(self) -> str | None:
        """Return one sentence saying why this machine cannot, or None."""

    def refuses(self, target: Target) -> str | None:
        """Return one sentence saying why this target cannot run here, or None."""

    def prepare(
        self, services: Sequence[Service], targets: Sequence[Target], say: Callable[[str], None]
    ) -> None:
        """Bring what these need to this machine, unless it is there.

        Raises:
            CacheError: something could not be downloaded, built or verified.
            ServiceError: an image could not be built.
            UnavailableError: the machine lacks what is needed for it.
        """

    def capabilities(self, target: Target) -> frozenset[type]:
        """Return the capability Protocols of ``site`` that this target's site will have."""

    def open(self, order: Order) -> AbstractContextManager[RunningSite]:
        """Start everything; on leaving, stop everything, whatever happened.

        Raises:
            ServiceError: a server did not come up.
            TargetError: the target did not come up.
        """

    def recover(self) -> list[str]:
        """Remove what dead harnesses left on it besides processes; return a line for each."""
