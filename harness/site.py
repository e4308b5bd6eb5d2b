"""What a fault may see: the capability Protocols of a running target.

A runtime returns a ``Site``; which of the capabilities below it has differs between
runtimes. A fault names the ones it needs, and a runtime without them is a named skip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from harness.model import Address, Evidence


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of the target's main process.

    Attributes:
        pid: process id as the host sees it.
        start_ticks: the kernel's start time of that process, clock ticks since boot;
            with the pid it names a process for ever.
        started_ns: wall clock when the runtime started it, nanoseconds.
        ready_s: seconds from there until it was ready; 0 when not known.
        name: what another machine calls it, where its process cannot be seen from here;
            pid and start_ticks are 0 then.
    """

    pid: int
    start_ticks: int
    started_ns: int
    ready_s: float = 0.0
    name: str = ""


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
        without_room: pushes so far that found the queue full; None when it does not tell.
    """

    asked_ns: int
    answered_ns: int
    ok: bool
    queue_length: int | None = None
    in_flight: int | None = None
    boot_id: str = ""
    without_room: int | None = None


class Probe(Protocol):
    """The health probe that watches the target from outside during the whole run."""

    def samples(self) -> Sequence[Sample]:
        """Return all samples so far, oldest first."""

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        """Return the first new sample that is wanted, or None when time is up."""

    def watch(self, base_urls: Sequence[str]) -> None:
        """Look at these instances from now on."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running server of the run.

    Attributes:
        service: its name.
        outside: where the harness itself reaches it, around every proxy.
        variables: what a target file may interpolate, through the proxy if it has one.
        direct: the same for a client that goes around the proxy, as the auditor does.
        through: where the harness itself reaches it through its proxy, if it has one.
    """

    service: str
    outside: Address
    variables: Mapping[str, str]
    direct: Mapping[str, str]
    through: Address | None = None


@dataclass(frozen=True, slots=True)
class Toxic:
    """One disturbance of a proxied connection.

    Attributes:
        name: by which it is removed.
        kind: Toxiproxy's type, e.g. ``latency``, ``timeout``, ``reset_peer``.
        stream: ``downstream`` is towards the client, ``upstream`` towards the server.
        toxicity: share of the connections that it affects, 0 to 1.
        attributes: as Toxiproxy documents for the type, e.g. ``{"latency": 100}`` in ms.
    """

    name: str
    kind: str
    stream: str = "downstream"
    toxicity: float = 1.0
    attributes: Mapping[str, int] = field(default_factory=dict)


class ProxyControl(Protocol):
    """Commands the proxy in front of the servers.

    Each raises ServiceError when the proxy server does not answer or refuses.
    """

    def create(self, name: str, listen: Address, upstream: Address) -> None:
        """Put a proxy called ``name`` in front of ``upstream``."""

    def disable(self, name: str) -> None:
        """Close a proxy's connections and refuse new ones."""

    def enable(self, name: str) -> None:
        """Accept connections again."""

    def add(self, proxy: str, toxic: Toxic) -> None:
        """Disturb a proxy's connections, those that exist included."""

    def lift(self, proxy: str, toxic: str) -> None:
        """Remove one disturbance."""


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


@dataclass(frozen=True, slots=True)
class Stopped:
    """How the target was asked to stop, and how it ended.

    Attributes:
        asked_ns: wall clock when SIGTERM was sent, nanoseconds.
        killed_ns: wall clock when SIGKILL was sent since the grace was over; None when
            the target ended by itself.
        exit: how it ended.
    """

    asked_ns: int
    killed_ns: int | None
    exit: Exit


@runtime_checkable
class Stoppable(Startable, Protocol):
    """The target can be asked to stop, and is made to when it takes too long."""

    def stop(self, grace_s: float) -> Stopped:
        """Send SIGTERM, wait for ``grace_s``, then send SIGKILL if it still runs.

        A grace of 0 sends the one directly after the other, as ``docker stop --time=0``.
        """


@runtime_checkable
class Pausable(Startable, Protocol):
    """The target's processes can be frozen, and go on later as if nothing had been."""

    def pause(self) -> str:
        """Freeze it and return the state that the kernel reports, e.g. ``T (stopped)``."""

    def resume(self) -> None:
        """Let it go on; does nothing when it is not frozen."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One reading of the target's memory control group.

    Attributes:
        limit_bytes: the limit in force; None when there is none.
        used_bytes: what its processes use now, without cached files that lie idle.
        oom_kills: how many of its processes the kernel has killed for want of memory.
    """

    limit_bytes: int | None
    used_bytes: int
    oom_kills: int


@runtime_checkable
class Ending(Startable, Protocol):
    """The end of the target's process can be waited for."""

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself; None when it still runs."""


@runtime_checkable
class MemoryLimited(Ending, Protocol):
    """The kernel can be told how much memory the target may use, swap included."""

    def memory(self) -> Memory:
        """Read the target's control group; after its end, its last known numbers."""

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Set the limit, or lift it.

        Raises:
            FaultError: the kernel does not take it.
        """


@runtime_checkable
class RestartedByPolicy(Killable, Protocol):
    """What runs the target starts it again by itself."""

    def restart_policy(self, on: bool) -> None:
        """Set or lift the policy."""

    def kill_from_host(self) -> int:
        """Send SIGKILL by the process id of the host; return the wall clock, nanoseconds.

        A kill through an engine counts as a wish to stop, and then no policy restarts.
        """

    def wait_restarted(self, before: Incarnation, timeout_s: float) -> Incarnation | None:
        """Wait for the life after ``before`` to be ready; None when none came."""


@runtime_checkable
class Disconnectable(Startable, Protocol):
    """The target can be cut off from the network that it shares with its servers."""

    def disconnect(self) -> None:
        """Cut it off."""

    def reconnect(self) -> None:
        """Connect it again; does nothing when it is connected."""

    def connected(self) -> bool:
        """Return whether it is, as the one who runs the network says."""


@runtime_checkable
class Replaceable(Stoppable, Protocol):
    """The target can be taken away and put there anew, as a rollout does."""

    def replace(self, grace_s: float) -> Stopped:
        """Stop it, remove it with all that it wrote, and start a new one in its place."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """One instance that was replaced: the life before, how it ended, the life after."""

    before: Incarnation
    stopped: Stopped
    after: Incarnation


@runtime_checkable
class Rolling(Stoppable, Protocol):
    """Instances of the target serve side by side and can be replaced one after the other."""

    def roll_out(self, pre_stop_s: float, grace_s: float) -> Sequence[Rolled]:
        """Replace each instance; the next one's turn comes when the new one is ready.

        An instance is out of service before its preStop begins: no new request is sent to
        it. Then come SIGTERM and, when the rest of the grace is over, SIGKILL.
        """


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to the target, as told by what runs it.

    Attributes:
        at_ns: wall clock of the teller, nanoseconds.
        action: e.g. ``kill``, ``oom``, ``die``, ``start``.
        attributes: what comes with it, e.g. ``signal`` or ``exitCode``.
    """

    at_ns: int
    action: str
    attributes: Mapping[str, str]


@runtime_checkable
class Recorded(Protocol):
    """What runs the target keeps a record of what happens to it."""

    def events(self, since_ns: int) -> Sequence[Event]:
        """Return the events since then, oldest first.

        Raises:
            EvidenceError: the record has a gap, so nothing may be concluded from it.
        """


@runtime_checkable
class PodRemovable(Startable, Protocol):
    """A pod of the target can be taken away; what runs it puts another in its place."""

    def delete_pod(self, grace_s: float) -> Rolled:
        """Delete a pod with another grace than its own, and see the next one serve."""

    def evict_pod(self) -> Rolled:
        """Evict a pod, which budgets of disruption may forbid, and see the next one serve.

        Raises:
            FaultError: it was forbidden.
        """


@runtime_checkable
class Drainable(Startable, Protocol):
    """The node that the target runs on can be emptied, as for its maintenance."""

    def drain_node(self) -> Sequence[Stopped]:
        """Let nothing new onto it, and evict the target's pods; return how they ended."""

    def node_open(self) -> bool:
        """Return whether the node takes new pods, as the cluster says."""

    def open_node(self) -> Incarnation:
        """Let pods onto it again, and see the target serve."""


@runtime_checkable
class Scalable(Startable, Protocol):
    """The number of the target's instances can be changed."""

    def scale(self, instances: int) -> Sequence[Stopped]:
        """Ask for another number; return how those ended that were too many."""

    def instances(self) -> int:
        """Return how many serve now, as the cluster says."""


@runtime_checkable
class Orchestrated(Protocol):
    """An orchestrator runs the target's pods, and writes down what becomes of them."""

    def account(self, since_ns: int) -> Sequence[Event]:
        """Return what it wrote down of the target since then, oldest first.

        Actions are ``create``, ``start``, ``delete`` (the wish), ``oom``, ``die`` with
        ``exitCode``, ``destroy``, ``disrupt`` and ``event`` with the reason that it gives.

        Raises:
            EvidenceError: the account has a gap, so nothing may be concluded from it.
        """


@runtime_checkable
class ServersKillable(Protocol):
    """The servers of the run can be killed and started again, each by its name."""

    def server_life(self, name: str) -> Incarnation:
        """Return the present or last life of a server's main process."""

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end."""

    def start_server(self, name: str) -> None:
        """Start it again on the same data and address and wait until it serves.

        Raises:
            ServiceError: it did not come up.
        """


@dataclass(frozen=True, slots=True)
class Disk:
    """One look at the disk that a server keeps its data on.

    Attributes:
        device: as the mount table says, e.g. ``/dev/loop3``; empty when none is mounted.
        shut_down: the mount table says that the file system was shut down.
        refused: why it did not take a write just now; empty when it did.
    """

    device: str
    shut_down: bool
    refused: str


@runtime_checkable
class PowerCut(ServersKillable, Killable, Protocol):
    """The disks of the servers can lose power; as root, with ext4 and loop devices."""

    def disk(self, server: str) -> Disk:
        """Look at a server's disk."""

    def cut_power(self, server: str) -> None:
        """End whatever uses the disk, and lose all that was not flushed to it.

        Raises:
            FaultError: the server has no disk of its own, or it cannot be shut down.
        """

    def restore_power(self, server: str) -> None:
        """Mount the disk again, as it was left; does nothing when it is in order."""


@runtime_checkable
class ServersLogged(Protocol):
    """What the servers of the run write into their logs can be read while they run."""

    def server_log(self, name: str) -> str:
        """Return a server's log as it is now."""


@dataclass(frozen=True, slots=True)
class Room:
    """One look at the room on a server's disk.

    Attributes:
        size_bytes, free_bytes: of its file system, as ``statfs`` tells whoever is not root.
        refused: why the disk did not take a write just now; empty when it did.
    """

    size_bytes: int
    free_bytes: int
    refused: str


@runtime_checkable
class DiskFillable(ServersLogged, Protocol):
    """The disks of the servers can be filled; as root, with ext4 and loop devices."""

    def room(self, server: str) -> Room:
        """Look at the disk of a server."""

    def fill_disk(self, server: str) -> None:
        """Take all room that is left on it.

        Raises:
            FaultError: the server has no disk of its own, or it cannot be filled.
        """

    def clear_disk(self, server: str) -> None:
        """Give the room back that was taken; does nothing when none was."""


@runtime_checkable
class Proxied(Protocol):
    """The target reaches some of its servers through a proxy that can be disturbed."""

    proxies: ProxyControl
    """Commands the proxy; a proxy bears the name of the server behind it."""


@runtime_checkable
class Delayed(Protocol):
    """A fault that hits the target some time after it was injected, or not at all."""

    struck_ns: int | None
    """Wall clock of the blow, nanoseconds; None when there was none."""


@runtime_checkable
class AtServers(Protocol):
    """A fault that hits servers, so it means nothing to a target without any of them."""

    servers: tuple[str, ...]
    """Names of the servers that it can hit."""

    way: Literal["any", "proxied", "disk"]
    """What it needs of them: to be reached through the proxy, or a disk of their own."""


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
