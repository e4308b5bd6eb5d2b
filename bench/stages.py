"""What marking stages costs: the same dispatcher with marks and without, in turn.

A dispatcher on a channel, without handler time, is given arrays of events as fast as it
takes them, until all are persisted. Rounds alternate, so that whatever else the machine
does meets both alike; only the ratio counts. One process on one core decides what this
dispatcher can take, so the CPU time that it spends on an event is what its throughput is
the inverse of, and the steadier measure of the two; both are shown.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.report import Report, Row, at_most, median
from lossmeter.plan.catalogue import Catalogue
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes.local import RUNTIME
from lossmeter.world.services import discover

NAME = "stages"
MOST = 0.03
EVENTS = 4000
ARRAY = 500
WAIT_S = 120.0

_SETTINGS = {
    "DISPATCHER_HANDLER__TIME_S": "0",
    "DISPATCHER_WORKERS": "16",
    "DISPATCHER_QUEUE__CAPACITY": "100000",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A dispatcher that runs."""

    base_url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the CPU time that its threads have used.

        The scheduler's own count is of nanoseconds (``proc_pid_schedstat(5)``); that of a
        process comes in ticks of 10 ms, of which a round has too few.
        """
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(each.read_text(encoding="ascii").split()[0]) for each in threads) / 1e9


@dataclass(frozen=True, slots=True)
class Round:
    """One round: events persisted per second, and CPU seconds for each of them."""

    rate_per_s: float
    cpu_s: float


@contextmanager
def dispatcher(folder: Path, *, marked: bool) -> Iterator[Running]:
    """Bring up a dispatcher that marks stages or does not."""
    target = Catalogue.here().target("channel").model_copy(update={"proxied": ()})
    order = Order(
        run_id=f"bench-{time.time_ns()}",
        folder=folder,
        target=target,
        services=[discover()["postgres"]],
        proxy=None,
        settings=_SETTINGS | ({} if marked else {"DISPATCHER_STAGES__PATH": ""}),
        probe=lambda url: HealthProbe(url, target.http, folder / "probe.jsonl"),
        say=Silent().say,
    )
    with RUNTIME.open(order) as site:
        yield Running(site.base_url, psutil.Process(site.incarnation().pid))


def round_of(running: Running, events: int, first: int) -> Round:
    """Send events in arrays and wait until all are persisted.

    Raises:
        RuntimeError: some were refused, or not persisted in time.
    """
    base_url = running.base_url
    before = _persisted(base_url)
    bodies = [_body(number, ARRAY) for number in range(first, first + events, ARRAY)]
    begin, used_s = time.perf_counter(), running.cpu_s()
    for body in bodies:
        request = urllib.request.Request(f"{base_url}/events", body)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
            if answer.status != 202:
                raise RuntimeError(f"the dispatcher answered {answer.status}")
    while (done := _persisted(base_url) - before) < events:
        if time.perf_counter() - begin > WAIT_S:
            raise RuntimeError(f"{done} of {events} events were persisted in {WAIT_S:g} s")
        time.sleep(0.002)
    rate_per_s = events / (time.perf_counter() - begin)
    return Round(rate_per_s, (running.cpu_s() - used_s) / events)


def _body(first: int, count: int) -> bytes:
    payload = "x" * 64
    events = [
        {"producer": 0, "sequence": n, "payload": payload} for n in range(first, first + count)
    ]
    return json.dumps(events).encode()


def _persisted(base_url: str) -> int:
    with urllib.request.urlopen(f"{base_url}/state", timeout=WAIT_S) as answer:  # noqa: S310
        counts: dict[str, int] = json.load(answer)["counts"]
    return int(counts["persisted"])


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Measure both in turn; thrice the rounds, for the difference is small."""
    rounds *= 3
    found: dict[bool, list[Round]] = {True: [], False: []}
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        dispatcher(Path(one), marked=True) as with_marks,
        dispatcher(Path(other), marked=False) as without,
    ):
        running = {True: with_marks, False: without}
        for each in running.values():
            round_of(each, EVENTS, 0)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: stages")
            # Who goes first changes: the second may find a warmer machine.
            for marked in sorted(running, reverse=bool(number % 2)):
                found[marked].append(round_of(running[marked], EVENTS, (number + 1) * EVENTS))
    return _report(found, rounds)


def _report(found: Mapping[bool, Sequence[Round]], rounds: int) -> Report:
    pairs = list(zip(found[True], found[False], strict=True))
    cpu = median([b.cpu_s / a.cpu_s for a, b in pairs])
    wall = median([a.rate_per_s / b.rate_per_s for a, b in pairs])
    does = f"{EVENTS} events in arrays of {ARRAY}"
    rows = [
        Row("with marks", does, _cpu_us(found[True]), "µs CPU an event", 1.0),
        Row("without", does, _cpu_us(found[False]), "µs CPU an event", cpu),
        Row("with marks, wall clock", does, _rate(found[True]), "events/s", 1.0),
        Row("without, wall clock", does, _rate(found[False]), "events/s", 1 / wall),
    ]
    return Report(
        NAME,
        "What marking stages costs",
        "The same dispatcher on a channel without handler time, with marks and without; its CPU "
        "time decides, for the wall clock shows what else the machine does.",
        rounds,
        rows,
        [at_most("share of the throughput that marking costs", round(1 - cpu, 4), MOST)],
    )


def _cpu_us(rounds: Sequence[Round]) -> float:
    return round(median([each.cpu_s for each in rounds]) * 1e6, 1)


def _rate(rounds: Sequence[Round]) -> float:
    return round(median([each.rate_per_s for each in rounds]))
