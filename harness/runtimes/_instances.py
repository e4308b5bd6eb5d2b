"""Several instances of one target: which take requests, and replacing them in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from harness.ports import LOOPBACK, free_ports
from harness.runtime import Order, in_service
from harness.site import Incarnation, Rolled, Stopped


class Instances:
    """The instances of one run, by their number.

    Args:
        folder: the run's folder, which gets the list of those in service.
        base_urls: where each is found.
    """

    def __init__(self, folder: Path, base_urls: Sequence[str]) -> None:
        self._file = in_service(folder)
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
        life: Callable[[], Incarnation],
        stop: Callable[[], Stopped],
        start: Callable[[], object],
        *,
        pre_stop_s: float,
    ) -> Rolled:
        """Replace one: out of service, preStop, stop, start, back into service."""
        before = life()
        self.out(index)
        time.sleep(pre_stop_s)
        stopped = stop()
        start()
        self.back(index)
        return Rolled(before, stopped, life())

    def _publish(self) -> None:
        partial = self._file.with_suffix(".tmp")
        lines = [self._addresses[index] for index in sorted(self._serving)]
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        partial.replace(self._file)


def base_urls(order: Order) -> list[str]:
    """Return where each instance will be found on this machine's loopback."""
    target = order.target
    if target.attach is not None:
        return [target.attach.url]
    fixed = target.start.port if target.start else None
    ports = [fixed] if fixed else []
    ports += free_ports(order.instances - len(ports))
    return [f"http://{LOOPBACK}:{port}" for port in ports]


def port_of(url: str) -> int:
    """Return the port of such a URL."""
    return int(url.rpartition(":")[2])


def part_name(target: str, index: int) -> str:
    """Return the name of an instance: of its log, and of its container."""
    return f"{target}-{index}" if index else target
