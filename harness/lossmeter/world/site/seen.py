"""What is read at a running target and its servers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from signal import Signals
from typing import Literal

from lossmeter.model import Address

LogLine = Literal["recovered", "mended"]
"""It found that it had not been shut down; it cut off what a file of its had lost."""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One lifetime of the target's main process.

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
    """How a process ended, as reported by who waited for it.

    Attributes:
        code: exit code; 128 + signal number when a signal ended it.
        signal: the signal that ended it, or None.
        at_ns: wall clock when the end was seen, nanoseconds.
        source: who reported it, e.g. ``waitpid``.
    """

    code: int
    signal: int | None
    at_ns: int
    source: str


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine.

    Attributes:
        pid, parent, session: process ids as the host sees them.
        start_ticks: the kernel's start time, clock ticks since boot.
        name: as the kernel has it, at most 15 bytes, fit to be shown.
        state: the kernel's letter, e.g. ``S`` for asleep, ``T`` for stopped.
        cpu_s: seconds of CPU that it has used so far.
    """

    pid: int
    parent: int
    session: int
    start_ticks: int
    name: str
    state: str
    cpu_s: float = field(default=0.0, compare=False)

    @property
    def ended(self) -> bool:
        """Return whether it has ended, and only its parent has not yet taken note."""
        return self.state in {"Z", "X"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look of the health probe at the target.

    Attributes:
        asked_ns, answered_ns: wall clock around the request, nanoseconds.
        ok: the target answered 200.
        queue_length, in_flight: as the target says; None when it does not.
        boot_id: the target's own name for this process lifetime; empty when it has none.
        without_room: pushes so far that found the queue full; None when not reported.
    """

    asked_ns: int
    answered_ns: int
    ok: bool
    queue_length: int | None = None
    in_flight: int | None = None
    boot_id: str = ""
    without_room: int | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """How the target was asked to stop, and how it ended.

    Attributes:
        asked_ns: wall clock when it was asked to, nanoseconds.
        killed_ns: wall clock when SIGKILL was sent since the grace was over; None when
            the target ended by itself.
        exit: how it ended.
        signal: what asked it to.
    """

    asked_ns: int
    killed_ns: int | None
    exit: Exit
    signal: Signals = Signals.SIGTERM


@dataclass(frozen=True, slots=True)
class Removed:
    """How a command ended that takes events out of a store: whether well, and in words."""

    done: bool
    said: str


@dataclass(frozen=True, slots=True)
class Rolled:
    """One instance that was replaced: the process before, how it ended, the process after."""

    before: Incarnation
    stopped: Stopped
    after: Incarnation


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


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to the target, as reported by what runs it.

    Attributes:
        at_ns: wall clock of the reporter, nanoseconds.
        action: e.g. ``kill``, ``oom``, ``die``, ``start``.
        attributes: what comes with it, e.g. ``signal`` or ``exitCode``.
    """

    at_ns: int
    action: str
    attributes: Mapping[str, str]


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


@dataclass(frozen=True, slots=True)
class Room:
    """One look at the room on a server's disk.

    Attributes:
        size_bytes, free_bytes: of its file system, as ``statfs`` reports to users other than root.
        refused: why the disk did not take a write just now; empty when it did.
    """

    size_bytes: int
    free_bytes: int
    refused: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running server of the run.

    Attributes:
        outside: where the harness itself reaches it, around every proxy.
        variables: what a target file may interpolate, through the proxy if it has one.
        direct: the same for a client that goes around the proxy, as the auditor does.
        through: where the harness itself reaches it through its proxy, if it has one.
        question: the shortest that its protocol answers before anybody logs in.
        log_lines: what it writes into its log after an end that was none of its own.
        sends_on: it sends clients on to an address that only the target is sure to reach.
    """

    service: str
    outside: Address
    variables: Mapping[str, str]
    direct: Mapping[str, str]
    through: Address | None = None
    question: bytes = b""
    log_lines: Mapping[LogLine, str] = field(default_factory=dict)
    sends_on: bool = False


@dataclass(frozen=True, slots=True)
class Toxic:
    """One disturbance of a proxied connection.

    Attributes:
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
