"""What sets of servers have in common, whether a runtime runs processes or containers."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lossmeter.errors import FaultError, ServiceError
from lossmeter.model import Address, plural
from lossmeter.plan.target import Target
from lossmeter.world.interrupts import WholeStack
from lossmeter.world.ownership import Owner
from lossmeter.world.ports import LOOPBACK, free_ports
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes._disks import LoopDisk
from lossmeter.world.runtimes._lifetimes import Lifetimes, servers_first
from lossmeter.world.runtimes._state import check_room, remove_state, state_folder
from lossmeter.world.runtimes._target import UNASKED
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.service import (
    SendsOn,
    Service,
    Slot,
    Watermarked,
    check_as_new,
    further_of,
    renew,
)
from lossmeter.world.site import Endpoint, Exit, Incarnation, ProxyControl

S = TypeVar("S", bound="ServerSet")
# RabbitMQ takes 6 s of a processor to start, which a busy machine may not give it sooner.
SERVICE_READY_S = 120.0
FIRST_PROXY_PORT = 20001


@contextmanager
def lend(order: Order, runtime: str, make: Callable[[Order], S]) -> Iterator[S]:
    """Lend a run the servers that it asks for, those of its shelf or its own; save their logs."""
    servers_pool = order.pool if order.services else None
    kind = runtime, _alike(order)
    with (servers_pool or ServerPool(at_once=0)).lend(
        kind, lambda: make(order), order.say
    ) as servers:
        servers.serve(order)
        try:
            with servers_first(servers.check_all):
                yield servers
            servers.check_lifetimes()
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
        self._kept = order.pool is not None and order.pool.keeps
        self._logs = order.folder / "logs"
        self._services = list(order.services)
        if order.proxy is not None:
            self._services.append(order.proxy)
        self._listens, self._fronts, self._further = _addresses(order, self._services)
        self._slots: dict[str, Slot] = {}
        self._as_new: dict[str, frozenset[str]] = {}
        self._unreported: dict[str, str] = {}
        self._struck: set[str] = set()
        # Struck by what holds, or not well again since.
        self._unsettled: set[str] = set()
        self._recovering: set[str] = set()
        self._down: set[str] = set()
        self._lifetimes = Lifetimes(self.lifetime, self.log)
        self._closing = WholeStack()
        self._state = state_folder(self.owner, runtime)
        self._closing.callback(remove_state, self._state)

    # What a pool asks of them.

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
        self._note_lifetimes()

    def _note_lifetimes(self) -> None:
        _side_by_side(lambda s: self._lifetimes.note(s, self._slots[s.name]), self._services)

    def _note_as_new(self, service: Service) -> None:
        try:
            self._as_new[service.name] = service.contents(self._slots[service.name])
        except Exception as error:  # noqa: BLE001 - whatever it is, it serves one run
            # An image of somebody else's may hold another server.
            self._unreported[service.name] = str(error)

    def unfit(self) -> str | None:
        """Return why no other run may have them, or None."""
        if self._struck:
            return f"a fault struck {', '.join(sorted(self._struck))}"
        if self._unreported:
            name, why = next(iter(self._unreported.items()))
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
        self._note_lifetimes()
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
            runs = plural(self.served, "run")
            order.say(f"servers kept, after {runs}: emptied, and found as when new")

    @property
    def names(self) -> Collection[str]:
        """Return the names of all, the proxy's among them."""
        return self._slots

    @abstractmethod
    def ended(self) -> dict[str, int]:
        """Return the exit codes of those that are down, a fault's doing or not, by name."""

    def refuse(self, ended: Mapping[str, int]) -> None:
        """Raise when one of those that are down was not taken down by a fault."""
        for name, code in ended.items():
            if name not in self._down:
                raise ServiceError(
                    f"{name} ended with exit code {code} {UNASKED}; "
                    f"its log says: {self.last_lines(name)}"
                )

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
        service = next(each for each in self._services if each.name == name)
        self._start_again(service)
        self._settle(service)
        self._down.discard(name)

    def healed(self, name: str) -> None:
        """Note that what a fault did to one without ending it is over: it may recover now."""
        if name in self._unsettled:
            self._recovering.add(name)
            self._settle_recovered()

    def _settle_recovered(self) -> None:
        """From when one serves again on, it has no excuse to begin anew."""
        ended = self.ended() if self._recovering else {}
        for service in self._services:
            name = service.name
            if name in self._recovering - ended.keys() and service.ready(self._slots[name]):
                self._settle(service)

    def _settle(self, service: Service) -> None:
        self._lifetimes.note(service, self._slots[service.name])
        self._unsettled.discard(service.name)
        self._recovering.discard(service.name)

    def check_all(self) -> None:
        """Raise when one is down, or began anew, that no fault struck."""
        self.refuse(self.ended())
        self.check_lifetimes()

    def check_lifetimes(self, *, now: bool = True) -> None:
        """Raise when one began anew that no fault struck; now, or from time to time."""
        self._settle_recovered()
        if now:
            self._lifetimes.check(self._unsettled)
        else:
            self._lifetimes.check_now_and_then(self._unsettled)

    def strike(self, name: str) -> None:
        """Note that a fault has struck one: no other run will have it."""
        self.spoil(name)
        self._unsettled.add(name)
        self._recovering.discard(name)

    def spoil(self, name: str) -> None:
        """Note that a fault has struck one that is to go on: no other run will have it."""
        self._struck.add(name)

    def watermarked(self, name: str) -> tuple[Watermarked, Slot]:
        """Return one that has a watermark of its memory, and its place.

        Raises:
            FaultError: it has none, or there is none of this name.
        """
        slot = self.slot_of(name)
        service = next(each for each in self._services if each.name == name)
        if not isinstance(service, Watermarked):
            raise FaultError(f"server {name} has no watermark of its memory")
        return service, slot

    def slot_of(self, name: str) -> Slot:
        """Return the place of one.

        Raises:
            FaultError: there is none of this name.
        """
        if name not in self._slots:
            raise FaultError(f"the run has no server {name!r}; it has " + ", ".join(self._slots))
        return self._slots[name]

    @abstractmethod
    def lifetime(self, name: str) -> Incarnation:
        """Return the present or last lifetime of one's main process."""

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
        self.proxies = self._order.proxy.control(self._slots[self._order.proxy.name])
        for name in self._fronts:
            self.proxies.create(name, *self._proxied(name))

    def _new_slot(self, service: Service, folder: Path, advertised: Address) -> Slot:
        settings = self._order.servers.get(service.name, {})
        listen = self._listens[service.name]
        password, further = secrets.token_urlsafe(18), self._further[service.name]
        slot = Slot(folder, listen, advertised, password, settings, further)
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
        service.question,
        service.log_lines,
        isinstance(service, SendsOn) and service.sends_on,
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
) -> tuple[dict[str, Address], dict[str, Address], dict[str, dict[str, Address]]]:
    """Return where each listens on this machine, where the proxies do, and further ports."""
    own = {process.port for process in order.target.processes if process.port}
    proxied = order.target.proxied
    # Chosen at once, since nobody listens on any of them yet; nor does the target.
    named = {service.name: further_of(service) for service in services}
    needed = len(services) + len(proxied) + len(own) + sum(map(len, named.values()))
    free = [Address(LOOPBACK, port) for port in free_ports(needed) if port not in own]
    listens = {service.name: free.pop() for service in services}
    fronts = {name: free.pop() for name in proxied}
    return listens, fronts, {n: {each: free.pop() for each in ports} for n, ports in named.items()}
