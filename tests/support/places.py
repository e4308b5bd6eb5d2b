"""Real servers as processes of this user, or in containers: struck alike in both places.

Each is brought up when a test first asks for it, as a runtime brings it up, and serves until the
session ends.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lossmeter.plan.http import Http
from lossmeter.plan.target import Target
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe
from lossmeter.world.ownership import Owner
from lossmeter.world.process_table import process_table
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes._docker_engine import connect
from lossmeter.world.runtimes._docker_events import RUN_LABEL
from lossmeter.world.runtimes._docker_servers import DockerServers
from lossmeter.world.runtimes._local_servers import LocalServers
from lossmeter.world.runtimes._processes import marked, may_send
from lossmeter.world.runtimes._server_set import ServerSet, lend
from lossmeter.world.services import discover
from lossmeter.world.waiting import wait_for
from tests.support.servers import Server
from tests.support.sites import runtime_named
from tests.support.turns import CONTAINERS

PROCESSES = "processes"
# After so long whatever was still on its way when a server froze has arrived.
_FROZEN_WITHIN_S = 5.0


class Place(ABC):
    """Where servers run.

    Args:
        new_folder: makes a folder for what one of them writes.
    """

    runtime: str

    def __init__(self, new_folder: Callable[[str], Path]) -> None:
        self._new_folder = new_folder
        self._sets: dict[str, ServerSet] = {}
        self._open = ExitStack()

    def __call__(self, name: str) -> Server:
        """Return a server that serves."""
        direct = self._set_of(name).endpoints[name].direct
        return Server(
            *(direct["address"], direct["password"], direct.get("username", "")),
            *(direct.get("url", ""), direct.get("management", "")),
        )

    def _set_of(self, name: str) -> ServerSet:
        if name not in self._sets:
            order = order_of(name, self.runtime, self._new_folder(name))
            self._sets[name] = self._open.enter_context(lend(order, self.runtime, self._made))
        return self._sets[name]

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Keep a server from doing anything; what connects to it is accepted by the kernel."""
        owner = self._set_of(name).owner
        self._freeze(owner)
        try:
            yield
        finally:
            self._go_on(owner)

    def kill(self, name: str) -> None:
        """End a server as SIGKILL does; only ``start_again`` brings it back."""
        self._set_of(name).kill(name)

    def start_again(self, name: str) -> None:
        """Start a server that was killed, on its data and its address."""
        self._set_of(name).start_again(name)

    def close(self) -> None:
        """Stop all."""
        self._open.close()

    @abstractmethod
    def _made(self, order: Order) -> ServerSet: ...

    @abstractmethod
    def _freeze(self, owner: Owner) -> None: ...

    @abstractmethod
    def _go_on(self, owner: Owner) -> None: ...


class Processes(Place):
    """Servers as processes of this user, or of one with fewer rights."""

    runtime = "local"

    def _made(self, order: Order) -> ServerSet:
        for service in order.services:
            service.install(lambda _: None)
        return LocalServers(order)

    def _freeze(self, owner: Owner) -> None:
        def frozen() -> bool:
            # Again and again: one may have forked meanwhile.
            pids = {each.pid for each, of in marked() if of == owner}
            self._send(owner, signal.SIGSTOP)
            table = process_table()
            return bool(pids) and all(table[pid].state == "T" for pid in pids if pid in table)

        assert wait_for(frozen, _FROZEN_WITHIN_S), "it did not freeze"

    def _go_on(self, owner: Owner) -> None:
        self._send(owner, signal.SIGCONT)

    @staticmethod
    def _send(owner: Owner, number: int) -> None:
        for process, of in marked():
            if of == owner:
                may_send(process, number)


class Containers(Place):
    """Servers in containers, published on the loopback."""

    runtime = "docker"

    def _made(self, order: Order) -> ServerSet:
        runtime_named(self.runtime)
        return DockerServers(order)

    def _freeze(self, owner: Owner) -> None:
        self._each(owner, "pause")

    def _go_on(self, owner: Owner) -> None:
        self._each(owner, "unpause")

    @staticmethod
    def _each(owner: Owner, do: str) -> None:
        client = connect()
        try:
            found = client.containers.list(filters={"label": f"{RUN_LABEL}={owner.mark}"})
            assert found
            for container in found:
                getattr(container, do)()
        finally:
            client.close()


PLACES: dict[str, type[Place]] = {PROCESSES: Processes, CONTAINERS: Containers}


def order_of(name: str, place: str, folder: Path) -> Order:
    """Return the order for one server without a target."""
    service = discover()[name]
    target = Target.model_validate(
        {
            "name": "servers-only",
            "summary": "never started",
            "ack_level": "enqueued",
            "services": [name],
            "start": {"command": ["never"]},
            "persisted": {"database": name, "query": "select 1"},
        }
    )
    return Order(
        run_id=f"test-{place}-{name}-{os.getpid()}",
        folder=folder,
        target=target,
        services=[service],
        proxy=None,
        settings={},
        probe=lambda url: HealthProbe(url, Http(), folder / "probe.jsonl"),
        say=Silent().say,
    )
