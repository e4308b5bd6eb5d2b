"""What marking stages costs: the same dispatcher with marks and without, in turn.

A dispatcher on a channel, without handler time, is given arrays of events as fast as it
takes them, until all are persisted. Rounds alternate, so that whatever else the machine
does meets both alike; only the ratio counts.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.report import Report, Row, at_most, median
from harness.catalogue import Catalogue
from harness.narrator import Silent
from harness.probe import HealthProbe
from harness.runtime import Order
from harness.runtimes.local import RUNTIME
from harness.services import discover
from harness.services.toxiproxy import Proxies

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


@contextmanager
def dispatcher(folder: Path, *, marked: bool) -> Iterator[str]:
    """Bring up a dispatcher that marks stages or does not; yields its base URL."""
    target = Catalogue.here().target("channel").model_copy(update={"proxied": ()})
    order = Order(
        run_id=f"bench-{time.time_ns()}",
        folder=folder,
        target=target,
        services=[discover()["postgres"]],
        proxy=None,
        proxy_control=Proxies,
        settings=_SETTINGS | ({} if marked else {"DISPATCHER_STAGES__PATH": ""}),
        probe=lambda url: HealthProbe(url, target.http, folder / "probe.jsonl"),
        say=Silent().say,
    )
    with RUNTIME.open(order) as site:
        yield site.base_url


def rate_per_s(base_url: str, events: int, first: int) -> float:
    """Send events in arrays and return how many were persisted per second.

    Raises:
        RuntimeError: some were refused, or not persisted in time.
    """
    before = _persisted(base_url)
    bodies = [_body(number, ARRAY) for number in range(first, first + events, ARRAY)]
    begin = time.perf_counter()
    for body in bodies:
        request = urllib.request.Request(f"{base_url}/events", body)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
            if answer.status != 202:
                raise RuntimeError(f"the dispatcher answered {answer.status}")
    while (done := _persisted(base_url) - before) < events:
        if time.perf_counter() - begin > WAIT_S:
            raise RuntimeError(f"{done} of {events} events were persisted in {WAIT_S:g} s")
        time.sleep(0.002)
    return events / (time.perf_counter() - begin)


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
    found: dict[bool, list[float]] = {True: [], False: []}
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        dispatcher(Path(one), marked=True) as with_marks,
        dispatcher(Path(other), marked=False) as without,
    ):
        urls = {True: with_marks, False: without}
        for url in urls.values():
            rate_per_s(url, EVENTS, 0)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: stages")
            # Who goes first changes: the second may find a warmer machine.
            for marked in sorted(urls, reverse=bool(number % 2)):
                found[marked].append(rate_per_s(urls[marked], EVENTS, (number + 1) * EVENTS))
    return _report(found, rounds)


def _report(found: Mapping[bool, Sequence[float]], rounds: int) -> Report:
    ratio = median([a / b for a, b in zip(found[True], found[False], strict=True)])
    does = f"{EVENTS} events in arrays of {ARRAY} through a channel without handler time"
    names = {True: "with marks", False: "without"}
    return Report(
        NAME,
        "What marking stages costs",
        "The same dispatcher with marks and without; the cost is the median of the rounds' ratios.",
        rounds,
        [
            Row(names[marked], does, round(median(rates)), "events/s", 1.0 if marked else ratio)
            for marked, rates in found.items()
        ],
        [at_most("share of the throughput that marking costs", round(1 - ratio, 4), MOST)],
    )
