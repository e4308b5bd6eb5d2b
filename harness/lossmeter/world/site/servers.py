"""What may be done to the servers of a run, to their disks, and to the way to them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lossmeter.model import Address
from lossmeter.world.site.seen import Disk, Exit, Incarnation, Room, Toxic
from lossmeter.world.site.target import Killable


@runtime_checkable
class ServersKillable(Protocol):
    """The servers of the run can be killed and started again, each by its name."""

    def server_lifetime(self, name: str) -> Incarnation:
        """Return the present or last process lifetime of a server's main process."""

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end."""

    def start_server(self, name: str) -> None:
        """Start it again on the same data and address and wait until it serves.

        Raises:
            ServiceError: it did not come up.
        """


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
class Alarmable(Protocol):
    """The memory of a server can be brought above its watermark, as RabbitMQ's."""

    def alarms(self, server: str) -> frozenset[str]:
        """Return the resources that it is short of, as it says, e.g. ``memory``.

        Raises:
            FaultError: it has no watermark.
            ServiceError: it does not answer.
        """

    def blocked(self, server: str) -> str:
        """Publish something that nobody gets, and return why it waits; empty when it is taken.

        Raises:
            FaultError, ServiceError: as for ``alarms``.
        """

    def set_watermark(self, server: str, limit_bytes: int | None) -> None:
        """Set the watermark until the server ends; None sets what it was when it began.

        Raises:
            FaultError, ServiceError: as for ``alarms``.
        """


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
        """Remove one disturbance.

        Raises:
            AbsentError: there is none of that name.
        """


@runtime_checkable
class Accountable(Protocol):
    """A proxy that can be read back, and compared with what it was commanded."""

    def not_commanded(self) -> str | None:
        """Return what is other than commanded by this run, in one sentence, or None.

        Raises:
            ServiceError: the proxy server does not answer.
        """


@runtime_checkable
class Proxied(Protocol):
    """The target reaches some of its servers through a proxy that can be disturbed."""

    proxies: ProxyControl
    """Commands the proxy; a proxy bears the name of the server behind it."""
