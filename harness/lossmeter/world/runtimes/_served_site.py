"""What a site of local processes and one of containers have in common.

Each part of the target is started, stopped and looked at by its number, and the servers are a
``ServerSet``; what a process or a container adds to that is the runtime's own. What may be done
to the target is done to one part; ``at`` returns the same site about another, with all its
state shared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Self

from lossmeter.errors import FaultError, TargetError
from lossmeter.world.ownership import Owner
from lossmeter.world.programs import text_of
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes._disks import Disks
from lossmeter.world.runtimes._instances import Instances, parts_of
from lossmeter.world.runtimes._processes import Child, helper_child
from lossmeter.world.runtimes._removal import Removal
from lossmeter.world.runtimes._server_set import ServerSet
from lossmeter.world.runtimes._shared_folder import SharedFolder
from lossmeter.world.runtimes._target import UNASKED, called, check_attached
from lossmeter.world.site import (
    Endpoint,
    Exit,
    Incarnation,
    Probe,
    ProxyControl,
    Removed,
    Rolled,
    Stopped,
)


class ServedSite(Disks):
    """A target beside a set of servers.

    Args:
        order: what was asked for.
        owner: whose the run's processes are.
        servers: those that it uses.
        shared: the folder that the target may write into.
    """

    def __init__(
        self, order: Order, owner: Owner, servers: ServerSet, shared: SharedFolder
    ) -> None:
        super().__init__(servers.disks)
        self.endpoints: dict[str, Endpoint] = servers.endpoints
        self.folder = order.folder
        self.versions: dict[str, str] = servers.versions
        self.served = servers.served
        self._parts = parts_of(order)
        target = order.target
        self._front = [i for i, p in enumerate(self._parts) if p.process.name == target.front]
        attached = [target.attach.url] if target.attach else []
        spoken = self._front if target.takes_requests else []
        self.base_urls = [self._parts[index].url for index in spoken] or attached
        self.base_url = self.base_urls[0] if self.base_urls else ""
        self.parts = [part.name for part in self._parts]
        self.part = self.parts[self._front[0]] if self.parts else ""
        self.watched = len(self.base_urls) == 1
        self.probe: Probe = order.probe(self.base_url)
        if not self.base_urls:
            self.probe.runs = self._front_runs
        self._order = order
        self._owner = owner
        self._set = servers
        self.shared = shared
        self._helpers: list[Child] = []
        self._instances = Instances(order.folder, self.base_urls)
        # Parts that a fault has ended, or may.
        self._expected: set[int] = set()

    def at(self, part: str) -> Self:
        """Return the same site, about another part of the target.

        Raises:
            FaultError: there is none of that name.
        """
        if part not in self.parts:
            raise FaultError(f"the target has no part {part!r}; it has {', '.join(self.parts)}")
        other, index = copy(self), self.parts.index(part)
        other.part, other.base_url = part, self._parts[index].url
        other.watched = self._front == [index] and bool(self.base_urls)
        return other

    def _front_runs(self) -> bool:
        down = self._ended_targets()
        return any(index not in down for index in self._front)

    @property
    def _at(self) -> int:
        """Return the number of the part that this site is about."""
        return self.parts.index(self.part) if self.parts else 0

    @property
    def grace_s(self) -> float:
        """Return what its file gives this part to end, in seconds; 0 for what runs already."""
        return self._parts[self._at].process.grace_s if self._parts else 0.0

    @property
    def proxies(self) -> ProxyControl:
        """Return what commands the proxies, where the target has any."""
        return self._set.proxies

    @property
    def _removal(self) -> Removal:
        return Removal(self._order.target, self.endpoints, self.shared.path)

    def persisted_ids(self) -> Sequence[tuple[int, int]]:
        """Return the events that the store holds now, each once and in order."""
        return self._removal.ids()

    def remove_persisted(self, ids: Sequence[tuple[int, int]]) -> Removed:
        """Have the target file's command take events out, and return how it ended."""
        return self._removal.remove(ids)

    @property
    def _logs(self) -> Path:
        return self.folder / "logs"

    def log(self, name: str) -> str:
        """Return what a server, or the target, has logged; nothing where that cannot be read."""
        return text_of(self._logs / f"{name}.log")

    # What only a runtime can do.

    @abstractmethod
    def _lifetime(self, index: int) -> Incarnation:
        """Return the present or last lifetime of a part."""

    @abstractmethod
    def _start(self, index: int) -> Incarnation:
        """Start a part and wait until it is healthy."""

    @abstractmethod
    def _stop(self, index: int, grace_s: float) -> Stopped:
        """Stop a part within its grace, and see it end."""

    @abstractmethod
    def _renew(self, index: int) -> None:
        """Start a part that was stopped, as a new one."""

    @abstractmethod
    def _ended_targets(self) -> Mapping[int, int]:
        """Return the exit codes of parts that are down, by their number."""

    @abstractmethod
    def _last_lines(self, index: int) -> str:
        """Return the end of a part's log on one line."""

    # What the run sees.

    def helper(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process of the harness's own on this machine."""
        child = helper_child(self._owner, self.folder, name, argv, environment)
        self._helpers.append(child)
        return child

    def check(self) -> None:
        """Raise when a server, or the target outside a fault, has ended or begun anew."""
        self._set.refuse(self._ended_servers())
        self._set.check_lifetimes(now=False)
        for index, code in self._ended_targets().items():
            if index not in self._expected:
                name = called(self._order.target, self._parts[index])
                raise TargetError(
                    f"{name} ended with exit code {code} {UNASKED}; "
                    f"its log says: {self._last_lines(index)}"
                )

    def check_servers(self) -> None:
        """Raise when a server has ended by now, asked anew."""
        self._set.refuse(self._set.ended())

    def _ended_servers(self) -> Mapping[str, int]:
        return self._set.ended()

    # What faults may do to the target.

    def start_all(self) -> None:
        """Start every part of the target in their order, each healthy before the next.

        Raises:
            UsageError: it is to be there already, and is not.
        """
        if self._order.target.attach is not None:
            check_attached(self._order.target, self.base_url)
            return
        for index in range(len(self._parts)):
            self._start(index)
        for disk in self.disks.values():
            disk.flush()

    def incarnation(self) -> Incarnation:
        """Return the present or last lifetime of the target."""
        return self._lifetime(self._at)

    def start(self) -> Incarnation:
        """Start the target and wait until it is ready."""
        return self._start(self._at)

    def stop(self, grace_s: float) -> Stopped:
        """Send SIGTERM, wait for the grace, then send SIGKILL if it still runs."""
        return self._stop(self._at, grace_s)

    def replace(self, grace_s: float) -> Stopped:
        """Stop the target, and start another one in its place."""
        stopped = self._stop(self._at, grace_s)
        self._renew(self._at)
        return stopped

    def roll_out(self, pre_stop_s: float, grace_s: float) -> list[Rolled]:
        """Replace each instance that takes requests in its turn."""
        return [
            self._instances.roll(
                number,
                partial(self._lifetime, index),
                partial(self._stop, index, grace_s - pre_stop_s),
                partial(self._renew, index),
                pre_stop_s=pre_stop_s,
            )
            for number, index in enumerate(self._front)
        ]

    # What faults may do to the servers.

    def server_lifetime(self, name: str) -> Incarnation:
        """Return the present or last lifetime of a server's main process."""
        return self._set.lifetime(name)

    def kill_server(self, name: str) -> Exit:
        """Send SIGKILL to a server and wait for its end."""
        return self._set.kill(name)

    def start_server(self, name: str) -> None:
        """Start a server again on the same data and address."""
        self._set.start_again(name)

    def server_log(self, name: str) -> str:
        """Return what a server has written in this run so far."""
        return self._set.log(name)

    def fill_disk(self, server: str) -> None:
        """Take all room that is left on a server's disk, which may end the server."""
        self._set.strike(server)
        super().fill_disk(server)

    def clear_disk(self, server: str) -> None:
        """Give the room back; from when it serves again on, a server has no excuse."""
        super().clear_disk(server)
        self._set.healed(server)

    def alarms(self, server: str) -> frozenset[str]:
        """Return the resources that a server is short of, as it says."""
        service, slot = self._set.watermarked(server)
        return service.alarms(slot)

    def blocked(self, server: str) -> str:
        """Publish something that nobody gets, and return why it waits; empty when it is taken."""
        service, slot = self._set.watermarked(server)
        return service.blocked(slot)

    def set_watermark(self, server: str, limit_bytes: int | None) -> None:
        """Set a server's watermark until it ends; None sets what it was when it began."""
        service, slot = self._set.watermarked(server)
        self._set.spoil(server)
        service.set_watermark(slot, limit_bytes)

    # The end.

    def close(self) -> None:
        """End the harness's own processes."""
        for helper in self._helpers:
            helper.kill()
