"""What a target is made of in one run, which of it takes requests, and replacing that in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lossmeter.model import Address
from lossmeter.plan.processes import Process
from lossmeter.world.ports import LOOPBACK, free_ports
from lossmeter.world.runtime import Order, serve
from lossmeter.world.site import Incarnation, Rolled, Stopped


class Instances:
    """The instances of one run, by their number.

    Args:
        folder: the run's folder, which gets the list of those in service.
        base_urls: where each is found.
    """

    def __init__(self, folder: Path, base_urls: Sequence[str]) -> None:
        self._folder = folder
        self._addresses = [urlsplit(url).netloc for url in base_urls]
        self._serving = set(range(len(base_urls)))
        if len(base_urls) > 1:
            self._publish()

    def out(self, index: int) -> None:
        """Send no more requests to one of them."""
        self._serving.discard(index)
        self._publish()

    def back(self, index: int) -> None:
        """Send it requests again."""
        self._serving.add(index)
        self._publish()

    def roll(
        self,
        index: int,
        lifetime: Callable[[], Incarnation],
        stop: Callable[[], Stopped],
        start: Callable[[], object],
        *,
        pre_stop_s: float,
    ) -> Rolled:
        """Replace one: out of service, preStop, stop, start, back into service."""
        before = lifetime()
        self.out(index)
        time.sleep(pre_stop_s)
        stopped = stop()
        start()
        self.back(index)
        return Rolled(before, stopped, lifetime())

    def _publish(self) -> None:
        serve(self._folder, [self._addresses[index] for index in sorted(self._serving)])


@dataclass(frozen=True, slots=True)
class Part:
    """One instance of one process of the target.

    Attributes:
        name: of its log and its container.
        process: what it is an instance of.
        number: which, from 0.
        port: where it is found from this machine; None where it does not listen.
        scheme: by which it is asked there.
        host: likewise.
    """

    name: str
    process: Process
    number: int
    port: int | None
    scheme: str = "http"
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """Return where it is found; empty where it does not listen."""
        return f"{self.scheme}://{self.host}:{self.port}" if self.port else ""


def parts_of(order: Order) -> list[Part]:
    """Return all parts of the target in the order of their starts, each with its port."""
    target = order.target
    made = [
        (name, process, number)
        for process in target.processes
        for number, name in enumerate(process.instances(target.count_of(process, order.instances)))
    ]
    free = iter(free_ports(len(made)))

    def part(name: str, process: Process, number: int) -> Part:
        front = process.name == target.front
        port = (number == 0 and process.port) or next(free)
        scheme = target.http.scheme if front else "http"
        listens = process.listens or (front and target.takes_requests)
        return Part(name, process, number, port if listens else None, scheme)

    return [part(*each) for each in made]


def neighbours(parts: Sequence[Part], at: Callable[[Part], Address]) -> dict[str, str]:
    """Return what a process may interpolate of others, of several alike the first.

    Args:
        parts: of the target.
        at: returns where one is found by the others.
    """
    found: dict[str, str] = {}
    for part in parts:
        if part.port and part.number == 0:
            where, name = at(part), part.process.name
            found |= {f"{name}.url": f"{part.scheme}://{where}", f"{name}.address": str(where)}
            found |= {f"{name}.host": where.host, f"{name}.port": str(where.port)}
    return found
