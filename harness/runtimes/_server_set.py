"""What sets of servers have in common, whether a runtime runs processes or containers."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from harness.errors import FaultError, ServiceError
from harness.model import Address
from harness.ownership import Owner
from harness.ports import LOOPBACK, free_ports
from harness.runtime import Order
from harness.runtimes._disks import LoopDisk
from harness.runtimes._state import check_room, remove_state, state_folder
from harness.service import Service, Slot, check_as_new, renew
from harness.shelf import Shelf
from harness.site import Endpoint, Exit, Incarnation, ProxyControl
from harness.target import Target

S = TypeVar("S", bound="ServerSet")
SERVICE_READY_S = 60.0
FIRST_PROXY_PORT = 20001


@contextmanager
def lend(order: Order, runtime: str, make: Callable[[Order], S]) -> Iterator[S]:
    """Lend a run the servers that it asks for, those of its shelf or its own; save their logs."""
    shelf = order.shelf if order.services else None
    kind = runtime, _alike(order)
    with (shelf or Shelf(at_once=0)).lend(kind, lambda: make(order), order.say) as servers:
        servers.serve(order)
        try:
            yield servers
        finally:
            servers.save_logs()


def _alike(order: Order) -> Hashable:
    """Return what servers have in common that can stand in for each other."""
    settings = {name: tuple(sorted(each.items())) for name, each in order.servers.items() if each}
    names = tuple(service.name for service in order.services)
    return names, tuple(order.target.proxied), tuple(sorted(settings.items())), order.disks


class ServerSet(ABC):
    """The servers of a run, with proxies in front of some of them.

    They may outlive the run that they were started for. So they have a mark of their own,
    by which they are found after the harness itself was killed.

    Args:
        order: of the run that they are started for.
        runtime: the name of the runtime.

    Attributes:
        owner: whose they are.
        served: runs that they served before this one.
        endpoints, proxies, versions: as for a site.
        disks: of those servers that have one of their own, by their names.
    """

    proxies: ProxyControl

    def __init__(self, order: Order, runtime: str) -> None:
        self.owner = Owner.this_process(f"{order.run_id}.servers")
        self.served = 0
        self.endpoints: dict[str, Endpoint] = {}
        self.versions: dict[str, str] = {}
        self.disks: dict[str, LoopDisk] = {}
        self._order = order
        self._kept = order.shelf is not None and order.shelf.keeps
        self._logs = order.folder / "logs"
        self._services = list(order.services)
        if order.proxy is not None:
            self._services.append(order.proxy)
        self._listens, self._fronts = _addresses(order, self._services)
        self._slots: dict[str, Slot] = {}
        self._as_new: dict[str, frozenset[str]] = {}
        self._untold: dict[str, str] = {}
        self._struck: set[str] = set()
        self._down: set[str] = set()
        self._closing = ExitStack()
        self._state = state_folder(self.owner, runtime)
        self._closing.callback(remove_state, self._state)

    # What a shelf asks of them.

    def start(self) -> None:
        """Start all side by side and put the proxies in front of them."""
        self._logs.mkdir(exist_ok=True)
        try:
            self._bring_up()
        except BaseException:
            self.save_logs()
            raise

    def _bring_up(self) -> None:
        _side_by_side(self._start_first, self._services)
        for service in self._order.services:
            slot, front = self._slots[service.name], self._fronts.get(service.name)
            self.endpoints[service.name] = endpoint(service, slot, front)
        if self._kept:
            _side_by_side(self._note_as_new, self._services)
        self._put_proxies()

    def _note_as_new(self, service: Service) -> None:
        try:
            self._as_new[service.name] = service.contents(self._slots[service.name])
        except Exception as error:  # noqa: BLE001 - whatever it is, it serves one run
            # An image of somebody else's may hold another server.
            self._untold[service.name] = str(error)

    def unfit(self) -> str | None:
        """Return why no other run may have them, or None."""
        if self._struck:
            return f"a fault struck {', '.join(sorted(self._struck))}"
        if self._untold:
            name, why = next(iter(self._untold.items()))
            return f"{name} did not say what it contained when it was new: {why}"
        if ended := self.ended():
            return f"{', '.join(sorted(ended))} ended"
        return None

    def renew(self) -> None:
        """Empty all and make sure that they are as when new; the proxies go first."""
        if self._order.proxy is not None:
            self._with_log(renew, self._order.proxy)
        _side_by_side(lambda service: self._with_log(renew, service), self._order.services)

    def resume(self) -> None:
        """Make sure once more, and put the proxies in front again."""
        check_room(self._state)
        if ended := self.ended():
            raise ServiceError(f"{', '.join(sorted(ended))} ended")
        _side_by_side(lambda service: self._with_log(check_as_new, service), self._services)
        self._put_proxies()
        self.served += 1

    def _with_log(
        self, do: Callable[[Service, Slot, frozenset[str]], None], service: Service
    ) -> None:
        name = service.name
        try:
            do(service, self._slots[name], self._as_new[name])
        except ServiceError as error:
            raise ServiceError(f"{error}; its log ends: {self.last_lines(name)}") from None

    def close(self) -> None:
        """Stop them and remove what they kept, whatever state they are in."""
        self._closing.close()

    # What a run asks of them.

    def serve(self, order: Order) -> None:
        """Serve this run from now on, whose folder gets their logs."""
        self._logs = order.folder / "logs"
        self._logs.mkdir(exist_ok=True)
        if self.served:
            runs = f"{self.served} runs" if self.served > 1 else "a run"
            order.say(f"servers kept, after {runs}: emptied, and found as when new")

    @abstractmethod
    def ended(self) -> dict[str, int]:
        """Return the exit codes of those that are down, a fault's doing or not, by name."""

    def expected(self, name: str) -> bool:
        """Return whether a fault took one down."""
        return name in self._down

    def kill(self, name: str) -> Exit:
        """Send SIGKILL to one and wait for its end."""
        self.slot_of(name)
        self.strike(name)
        self._down.add(name)
        return self._kill(name)

    def start_again(self, name: str) -> None:
        """Start one again on the same data and address, and wait until it serves."""
        self.slot_of(name)
        self.strike(name)
        self._start_again(next(each for each in self._services if each.name == name))
        self._down.discard(name)

    def strike(self, name: str) -> None:
        """Note that a fault has struck one: no other run will have it."""
        self._struck.add(name)

    def slot_of(self, name: str) -> Slot:
        """Return the place of one.

        Raises:
            FaultError: there is none of this name.
        """
        if name not in self._slots:
            raise FaultError(f"the run has no server {name!r}; it has " + ", ".join(self._slots))
        return self._slots[name]

    @abstractmethod
    def life(self, name: str) -> Incarnation:
        """Return the present or last life of one's main process."""

    @abstractmethod
    def last_lines(self, name: str) -> str:
        """Return the end of one's log on one line."""

    @abstractmethod
    def log(self, name: str) -> str:
        """Return what one has written in this run so far."""

    @abstractmethod
    def save_logs(self) -> None:
        """Write what all have written in this run into its folder."""

    # What only a runtime can do.

    @abstractmethod
    def _start_first(self, service: Service) -> None:
        """Start one on a new slot, which is noted, and note its version."""

    @abstractmethod
    def _proxied(self, name: str) -> tuple[Address, Address]:
        """Return where the proxy in front of one listens, and where it leads, as it sees both."""

    @abstractmethod
    def _kill(self, name: str) -> Exit:
        """Kill one and wait for its end."""

    @abstractmethod
    def _start_again(self, service: Service) -> None:
        """Start one where it was and wait until it serves."""

    def _put_proxies(self) -> None:
        if self._order.proxy is None:
            return
        self.proxies = self._order.proxy_control(self._listens[self._order.proxy.name])
        for name in self._fronts:
            self.proxies.create(name, *self._proxied(name))

    def _new_slot(self, service: Service, folder: Path, advertised: Address) -> Slot:
        settings = self._order.servers.get(service.name, {})
        listen = self._listens[service.name]
        slot = Slot(folder, listen, advertised, secrets.token_urlsafe(18), settings)
        self._slots[service.name] = slot
        return slot


def endpoint(service: Service, slot: Slot, through: Address | None) -> Endpoint:
    """Return how a server is reached: by the target, around its proxy, and through it."""
    return Endpoint(
        service.name,
        slot.listen,
        service.variables(slot, slot.advertised),
        service.variables(slot, slot.listen),
        through,
    )


def front_inside(target: Target, name: str) -> int:
    """Return the port of the proxy in front of a server, where the proxy is a part of its own."""
    return FIRST_PROXY_PORT + list(target.proxied).index(name)


def _side_by_side(do: Callable[[Service], None], services: Sequence[Service]) -> None:
    with ThreadPoolExecutor(max(1, len(services))) as pool:
        for future in [pool.submit(do, service) for service in services]:
            future.result()


def _addresses(
    order: Order, services: Sequence[Service]
) -> tuple[dict[str, Address], dict[str, Address]]:
    """Return where each listens on this machine, and where the proxies in front of some do."""
    start = order.target.start
    own = {start.port} if start and start.port else set()
    proxied = order.target.proxied
    # Chosen at once, since nobody listens on any of them yet; nor does the target.
    free = [p for p in free_ports(len(services) + len(proxied) + len(own)) if p not in own]
    listens = {service.name: Address(LOOPBACK, free.pop()) for service in services}
    return listens, {name: Address(LOOPBACK, free.pop()) for name in proxied}
