"""The servers of a run as local processes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world import programs
from lossmeter.world.ownership import Owner
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes._disks import LoopDisk
from lossmeter.world.runtimes._processes import (
    Child,
    account,
    base_environment,
    kill_all,
    kill_marked,
    last_of,
    marked,
)
from lossmeter.world.runtimes._server_set import SERVICE_READY_S, ServerSet
from lossmeter.world.service import ProcessSpec, Service, Slot
from lossmeter.world.site import Exit, Incarnation

NAME = "local"
PREPARED_WITHIN_S = 60


class LocalServers(ServerSet):
    """Servers as processes of this user, or of one with fewer rights."""

    def __init__(self, order: Order) -> None:
        super().__init__(order, NAME)
        self._children: dict[str, Child] = {}
        self._read_from: dict[str, int] = {}
        # Of a run of their own it is the run's folder, so that a killed harness leaves them.
        self._written = self._state / "logs" if self._kept else self._logs
        self._written.mkdir(exist_ok=True)
        # Registered first, so that it runs whatever becomes of an orderly end.
        self._closing.callback(kill_marked, self.owner)
        self._closing.callback(self._terminate)

    def _terminate(self) -> None:
        with ThreadPoolExecutor(max(1, len(self._children))) as pool:
            list(pool.map(Child.terminate, self._children.values()))

    def _start_first(self, service: Service) -> None:
        folder = self._state / service.name
        if service.name in self._order.disks:
            image = self._state / "disks" / service.name
            self.disks[service.name] = LoopDisk(image, folder)
        else:
            folder.mkdir(mode=0o700)
        who = account(service.unprivileged)
        if who.user is not None and who.group is not None:
            os.chown(folder, who.user, who.group)
        listen = self._listens[service.name]
        slot = self._new_slot(service, folder, self._fronts.get(service.name, listen))

        def run(spec: ProcessSpec) -> None:
            environment = base_environment(self.owner) | dict(spec.environment)
            ended = programs.run(
                spec.argv, PREPARED_WITHIN_S, environment=environment, folder=folder, who=who
            )
            ended.checked(ServiceError)

        service.prepare(slot, run)
        self._start_process(service, slot)
        self.versions[service.name] = service.version()
        self._order.say(f"{service.version()} ready on {slot.listen}")

    def _start_process(self, service: Service, slot: Slot) -> None:
        spec = service.process(slot)
        child = Child(
            service.name,
            spec.argv,
            base_environment(self.owner) | dict(spec.environment),
            log=self._written / f"{service.name}.log",
            who=account(service.unprivileged),
            folder=slot.folder,
        )
        self._children[service.name] = child
        child.stop_signal = spec.stop_signal
        why = child.wait_ready(lambda: service.ready(slot), SERVICE_READY_S)
        if why is not None:
            raise ServiceError(f"{service.name} {why}")

    def _proxied(self, name: str) -> tuple[Address, Address]:
        return self._fronts[name], self._listens[name]

    def ended(self) -> dict[str, int]:
        """Return the exit codes of those that are down, by name."""
        codes = {name: child.poll() for name, child in self._children.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def pids(self) -> dict[str, int]:
        """Return the ids of the main processes, by name."""
        return {name: child.pid for name, child in self._children.items()}

    def lifetime(self, name: str) -> Incarnation:
        """Return the present or last lifetime of one's process."""
        self.slot_of(name)
        return self._children[name].lifetime

    def _kill(self, name: str) -> Exit:
        return self._children[name].kill()

    def _start_again(self, service: Service) -> None:
        self._start_process(service, self._slots[service.name])

    def kill_rest(self, name: str) -> None:
        """Kill what one left running: PostgreSQL's children outlive it for a moment."""
        self.strike(name)
        kill_all(process for process, owner in marked() if self._uses(process.pid, owner, name))

    def _uses(self, pid: int, owner: Owner, name: str) -> bool:
        if owner != self.owner:
            return False
        try:
            return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(self._state / name)
        except OSError:
            return False

    def last_lines(self, name: str) -> str:
        """Return the end of one's log on one line."""
        return last_of(self._said(name), 2)

    def log(self, name: str) -> str:
        """Return what one has written in this run so far."""
        self.slot_of(name)
        return self._said(name).decode(errors="replace")

    def _said(self, name: str) -> bytes:
        return self._children[name].log.read_bytes()[self._read_from.get(name, 0) :]

    def save_logs(self) -> None:
        """Write what all have written in this run into its folder."""
        if self._written == self._logs:
            return
        for name in self._children:
            said = self._said(name)
            (self._logs / f"{name}.log").write_bytes(said)
            self._read_from[name] = self._read_from.get(name, 0) + len(said)
