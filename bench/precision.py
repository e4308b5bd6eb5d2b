"""How exactly a fault comes: from the condition being seen until the signal was sent.

A real dispatcher on a channel takes more events than it can handle, from a process of its
own. Whenever so many are queued it is killed, by the same code that conducts the faults of
a run, and started again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import numpy as np

from bench.report import Report, Row, at_most
from bench.servers import dispatching
from lossmeter.experiment import PlannedFault, Trigger
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.run.conduct import Conductor
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe
from lossmeter.world.runtime import RunningSite

NAME = "precision"
KILLS_EACH = 20
QUEUED = 30
RATE_PER_S = 400
_AGAIN_S = 0.02


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Kill a dispatcher on a condition, many times, and look at how late each kill came."""
    settings = {"DISPATCHER_WORKERS": "5", "DISPATCHER_HANDLER__TIME_S": "0.05"}
    with dispatching("channel", settings) as site:
        records = _kills(site, rounds * KILLS_EACH, say)
    sent = [(record.lag_s or 0.0) * 1000 for record in records]
    ended = [(_ended_ns(record) - (record.met_ns or 0)) / 1e6 for record in records]
    does = f"{len(records)} kills at queue_length >= {QUEUED}"
    rows = [
        Row(f"{what}, {word}", does, round(float(np.quantile(found, share)), 2), "ms")
        for what, found in (("signal sent", sent), ("process seen to end", ended))
        for word, share in (("median", 0.5), ("p99", 0.99), ("longest", 1.0))
    ]
    return Report(
        NAME,
        "How exactly a fault comes",
        f"A condition is looked for every 10 ms; milliseconds from the answer that met it. "
        f"{RATE_PER_S} events/s meet a dispatcher that handles 100.",
        rounds,
        rows,
        [at_most("ms from condition seen to signal sent, p99", float(np.quantile(sent, 0.99)), 30)],
    )


def _kills(site: RunningSite, kills: int, say: Callable[[str], None]) -> Sequence[FaultRecord]:
    probe, facts = site.probe, _facts()
    if not isinstance(probe, HealthProbe):
        raise TypeError("the site was given another probe")
    planned = PlannedFault("sigkill", Trigger(condition=f"queue_length >= {QUEUED}"))
    with probe, _load(site.base_url):
        target = Catalogue.here().target("channel")
        for number in range(kills):
            if number % KILLS_EACH == 0:
                say(f"kill {number + 1} of {kills}")
            conductor = Conductor(site, probe, facts, Silent(), [planned], target=target)
            conductor.begin(time.monotonic())
            while conductor.busy():
                time.sleep(0.01)
    for record in facts.faults:
        if record.injected_ns is None or not all(seen.holds for seen in record.evidence):
            raise RuntimeError(f"a kill has no evidence: {record}")
    return facts.faults


def _ended_ns(record: FaultRecord) -> int:
    """Return when the process was seen to end, which is after the signal was sent."""
    return next(seen.at_ns for seen in record.evidence if seen.source == "waitpid")


def _facts() -> Facts:
    return Facts(
        run_id="bench",
        experiment="bench",
        hypothesis="",
        target="channel",
        ack_level="enqueued",
        runtime="local",
        seed=0,
        events_planned=0,
        rate_per_s=RATE_PER_S,
        exact=False,
    )


@contextmanager
def _load(base_url: str) -> Iterator[None]:
    sender = subprocess.Popen([sys.executable, "-m", "bench.precision", "--send", base_url])
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def send(base_url: str) -> None:
    """Send events at an even rate until killed; what finds nobody is not sent again."""
    parts = urlsplit(base_url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=1)
    sequence, due = 0, time.monotonic()
    while True:
        sequence, due = sequence + 1, due + 1 / RATE_PER_S
        time.sleep(max(0.0, due - time.monotonic()))
        body = json.dumps({"producer": 0, "sequence": sequence, "payload": "x" * 64})
        try:
            connection.request("POST", "/events", body)
            connection.getresponse().read()
        except (OSError, HTTPException):
            connection.close()
            time.sleep(_AGAIN_S)
            due = time.monotonic()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--send", required=True, metavar="URL")
    with suppress(KeyboardInterrupt):
        send(parser.parse_args().send)
