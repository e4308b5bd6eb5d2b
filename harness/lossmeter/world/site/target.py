"""What may be done to the target itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lossmeter.world.site.seen import Event, Exit, Incarnation, Memory, Process, Rolled, Stopped
from lossmeter.world.site.site import Site


@runtime_checkable
class Grouped(Protocol):
    """The target is made of parts, the instances of its processes, and each can be struck.

    What else a fault may do, it does to one part: the first that takes requests, unless the
    site is that of another.
    """

    parts: Sequence[str]
    """The names of all parts, in the order of their starts."""

    part: str
    """The name of the one that this site is about; its log bears it."""

    grace_s: float
    """What its file gives this part to end, in seconds."""

    watched: bool
    """Whether the health probe looks at this part and at no other."""

    def at(self, part: str) -> Site:
        """Return the same site, about another part."""


@runtime_checkable
class Startable(Protocol):
    """The target's process can be started again after it ended."""

    def incarnation(self) -> Incarnation:
        """Return the present or last process lifetime of the target."""

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


@runtime_checkable
class ProcessTree(Killable, Protocol):
    """The target's processes can be listed and killed, each or all of them."""

    def processes(self) -> Sequence[Process]:
        """Return what runs of the target, the oldest first.

        Descendants are among them whatever became of their parents, also while the main
        process is dead.
        """

    def kill_process(self, pid: int) -> int:
        """Send SIGKILL to one of them; return the wall clock, nanoseconds.

        What becomes of the main process then is the fault's doing.

        Raises:
            FaultError: it is none of the target's processes.
        """

    def removed(self) -> Sequence[str]:
        """Return a line for each that outlived a main process and kept its port from the next.

        They were ended at the restart.
        """

    def kill_tree(self) -> Exit:
        """Send SIGKILL to all of them; return how the main process ended."""


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


@runtime_checkable
class Ending(Startable, Protocol):
    """The end of the target's process can be waited for."""

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Wait for the target to end by itself; None when it still runs."""


@runtime_checkable
class MemoryLimited(Ending, Protocol):
    """The kernel can be given how much memory the target may use, swap included."""

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
        """Wait for the process after ``before`` to be ready; None when none came."""


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


@runtime_checkable
class Rolling(Stoppable, Protocol):
    """Instances of the target serve side by side and can be replaced one after the other."""

    def roll_out(self, pre_stop_s: float, grace_s: float) -> Sequence[Rolled]:
        """Replace each instance; the next one's turn comes when the new one is ready.

        An instance is out of service before its preStop begins: no new request is sent to
        it. Then come SIGTERM and, when the rest of the grace is over, SIGKILL.
        """


@runtime_checkable
class Recorded(Protocol):
    """What runs the target keeps a record of what happens to it."""

    def events(self, since_ns: int) -> Sequence[Event]:
        """Return the events since then, oldest first.

        Raises:
            EvidenceError: the record has a gap, so nothing may be concluded from it.
        """
