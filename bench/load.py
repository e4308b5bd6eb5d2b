"""The journalled open load beside load generators without a journal, and on several cores.

The server is nginx. For the peers it has core 0 and each contender core 1; ours is asked for
more than it can do, and must have journalled every event. Then for fixed rates, to see how
well these are kept. Then from two processes: on two cores the server takes its share of both,
so it is measured with that share the same (one process and one worker of the server on one
core, two and two on two), and beside one process that had a core for itself.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from bench import tools
from bench.pieces import Found, Piece, Round, Say
from bench.report import Goal, Report, Row, at_least, at_most, median
from lossmeter.judge.ledger.stats import load_figures
from lossmeter.judge.ledger.times import Times
from lossmeter.load.plan import ENVIRONMENT_VARIABLE, Feeder, LoadPlan
from lossmeter.load.process import load_command
from lossmeter.plan.http import Http
from lossmeter.record.answers import Reason
from lossmeter.record.arrays import Operations
from lossmeter.record.journals import read_journals
from lossmeter.world.ports import free_ports

NAME = "load"
SECONDS = 5
CONNECTIONS = 64
EVENTS = 150_000
RATES = (200, 2_000, 10_000)
CORE_0, CORE_1, BOTH = "0", "1", "0,1"
_CLIENT = ("taskset", "-c", CORE_1)
_NGINX = """
worker_processes {workers}; {affinity} daemon off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port} backlog=4096 reuseport; location / {{ return 202 "{{}}"; }} }}
}}
"""
_BODY = '{"producer": 1, "sequence": 1, "key": "1", "payload": "' + "x" * 64 + '"}'
_FAST = f"""
from locust import FastHttpUser, task
class Producer(FastHttpUser):
    @task
    def produce(self):
        self.client.post("/events", data={_BODY!r}, headers={{"Content-Type": "application/json"}})
"""
_K6 = f"""
import http from 'k6/http';
const at = {{headers: {{'Content-Type': 'application/json'}}}};
export default function () {{ http.post(__ENV.URL, {_BODY!r}, at); }}
"""
_WRK = f"""
wrk.method = "POST"
wrk.body = {_BODY!r}
wrk.headers["Content-Type"] = "application/json"
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running nginx; ``url`` is asked."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the processor seconds that its workers took so far."""
        times = [worker.cpu_times() for worker in self.process.children()]
        return sum(each.user + each.system for each in times)


def _peers(say: Say) -> Round:
    """Let each contender send as fast as it can, in turn."""
    found = {}
    with nginx(CORE_0) as server:
        for name, way in {OURS: ours, FAST: fast, **_OTHERS}.items():
            if name in {OURS, FAST} or tools.found(name):
                say(name)
                found[name] = way(server.url)
    return found


def _rates(say: Say) -> Round:
    """Ask for fixed rates, with as many connections as they may take."""
    found = {}
    with nginx(CORE_0) as server:
        for rate in RATES:
            say(f"{rate}/s")
            found[str(rate)] = _load(server.url, rate, SECONDS, 256)
    return found


def _cores(say: Say) -> Round:
    """Send from one process and from two, with the server beside them or apart."""
    found = {}
    for name, cores, processes, server_cores in CORES:
        say(name)
        with nginx(server_cores, processes) as server:
            with _costs() as start:
                _load(server.url, 100, 0.1, CONNECTIONS, cores, processes)
            before_s = server.cpu_s()
            with _costs() as load:
                rate = ours(server.url, cores, processes)
            server_s = server.cpu_s() - before_s
        costs_s = [server_s, *(load[n] - start[n] for n in (0, 1))]
        found[name] = [rate, *(each / EVENTS for each in costs_s)]
    say(PAIRS)
    found[PAIRS] = [_pairs()]
    return found


def _pairs() -> float:
    """Return the rate of two loads side by side that have a core each, with its own server."""
    with ThreadPoolExecutor(2) as pool, nginx(CORE_0) as one, nginx(CORE_1) as other:
        both = [
            pool.submit(ours, server.url, core) for server, core in ((one, CORE_0), (other, CORE_1))
        ]
        return sum(each.result() for each in both)


@contextmanager
def _costs() -> Iterator[list[float]]:
    """Yield what will hold the processor seconds, user's and system's, of what is run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    costs: list[float] = []
    yield costs
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    costs += [after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime]


OURS, FAST = "lossmeter, journalled", "Locust FastHttpUser"
APART, BESIDE = "1 process, server on the other core", "1 process, server on the same core"
TWO = "2 processes, server on the same two cores"
PAIRS = "2 loads, each with a server on its own core"
CORES = (
    (APART, CORE_1, 1, CORE_0),
    (BESIDE, CORE_1, 1, CORE_1),
    (TWO, BOTH, 2, BOTH),
)
PIECES = {"peers": Piece(_peers), "rates": Piece(_rates, 3), "cores": Piece(_cores)}


def report(found: Found) -> Report:
    """Return what each contender reached, and how far two processes get."""
    rates = {name: median([r[name] for r in found["peers"]]) for name in found["peers"][0]}
    kept = {rate: [each[str(rate)] for each in found["rates"]] for rate in RATES}
    cores = {
        name: [median(each) for each in zip(*(r[name] for r in found["cores"]), strict=True)]
        for name in found["cores"][0]
    }
    ours = rates[OURS]
    rows = [
        Row(name, "POST from core 1", round(rate), "requests/s", ours / rate)
        for name, rate in rates.items()
    ]
    rows += [
        Row(name, "journalled", round(rate), "requests/s", cores[TWO][0] / rate, _spent(costs_s))
        for name, (rate, *costs_s) in cores.items()
    ]
    _, server_s, user_s, system_s = cores[TWO]
    load_s = user_s + system_s
    return Report(
        NAME,
        "Load from one core and from two",
        f"{CONNECTIONS} connections to nginx. Where two processes send, an event takes the load "
        f"{load_s * 1e6:.1f} µs of a core, {system_s / load_s:.0%} of it in the system, and the "
        f"server {server_s * 1e6:.1f} µs of the same cores: with the server elsewhere, "
        f"{(load_s + server_s) / load_s:.2f} times as many would be sent. Two loads whose traffic "
        f"stays on their own core send {cores[PAIRS][0] / cores[BESIDE][0]:.2f} times as many as "
        "one: what keeps two processes from it is the way between the cores.",
        len(found["peers"]),
        rows,
        [
            at_least("times FastHttpUser", ours / rates[FAST], 3),
            *(_ahead(name, ours, rates.get(name)) for name in ("k6", "vegeta")),
            *(
                at_most(f"% off the asked {rate}/s", _worst(rate, each), 1)
                for rate, each in kept.items()
            ),
            at_least(
                "times one process, the server on the same cores",
                cores[TWO][0] / cores[BESIDE][0],
                1.7,
            ),
            at_least(
                "times one process that had the server on another core",
                cores[TWO][0] / cores[APART][0],
                1.7,
            ),
        ],
    )


def _spent(costs_s: Sequence[float]) -> str:
    if not costs_s:
        return "nothing passes from one core to the other"
    server, user, system = (each * 1e6 for each in costs_s)
    return f"µs of a core for each: load {user:.1f} + system {system:.1f}, server {server:.1f}"


def _ahead(name: str, ours: float, other: float | None) -> Goal:
    return at_least(f"times {name}", ours / other if other else None, 1)


def _worst(rate: float, kept: list[float]) -> float:
    return max(abs(each - rate) / rate * 100 for each in kept)


@contextmanager
def nginx(cores: str, workers: int = 1) -> Iterator[Server]:
    """Start nginx on some cores, and yield it once it answers."""
    program = tools.found("nginx")
    if program is None:
        raise RuntimeError("nginx is missing; bring it with `python -m bench.tools`")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/events"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        # Workers that wander between the cores would take more of both.
        affinity = "worker_cpu_affinity auto;" if workers > 1 else ""
        text = _NGINX.format(folder=folder, port=port, workers=workers, affinity=affinity)
        config.write_text(text, encoding="utf-8")
        command = ("taskset", "-c", cores, program, "-c", str(config), "-p", folder)
        server = subprocess.Popen(command)
        try:
            _until_there(url)
            yield Server(url, psutil.Process(server.pid))
        finally:
            server.terminate()
            server.wait()


def _until_there(url: str) -> None:
    import urllib.request  # noqa: PLC0415 - used once

    for _ in range(100):
        try:
            urllib.request.urlopen(url).close()  # noqa: S310 - our own server
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nothing answers at {url}")


def ours(url: str, cores: str = CORE_1, processes: int = 1) -> float:
    """Ask for more than can be done; return the rate that was reached."""
    return _load(url, 100_000.0, EVENTS / 100_000, CONNECTIONS, cores, processes)


def _load(  # noqa: PLR0913, PLR0917 - what a load consists of
    url: str,
    rate_per_s: float,
    seconds: float,
    most: int,
    cores: str = CORE_1,
    processes: int = 1,
) -> float:
    """Carry out a load, check that every event was journalled, and return the rate."""
    plan = replace(
        _plan(rate_per_s, seconds, most),
        port=int(url.split(":")[2].split("/", maxsplit=1)[0]),
        processes=processes,
    )
    return _carried_out(plan, 202, {}, ["taskset", "-c", cores])


def fed(feeder: Feeder, given: Mapping[str, str], events: int, most: int, bytes_: int) -> float:
    """Hand events to an ingress program, more than can be done; return the rate that was reached.

    Args:
        feeder: the program.
        given: its variables.
        events: how many.
        most: of these in flight at once.
        bytes_: of a payload.
    """
    plan = _plan(100_000.0, events / 100_000, most)
    plan = replace(plan, feeder=feeder, payload_bytes=bytes_, timeout_s=60)
    return _carried_out(plan, Reason.CONFIRMED, {ENVIRONMENT_VARIABLE: json.dumps(dict(given))}, [])


def _plan(rate_per_s: float, seconds: float, most: int) -> LoadPlan:
    return LoadPlan(
        host="127.0.0.1",
        port=1,
        path="/events",
        body=Http().body,
        accepted=[202],
        refused=[],
        timeout_s=10,
        phases=[(rate_per_s, seconds)],
        producers=8,
        payload_bytes=64,
        max_in_flight=most,
        seed=1,
        folder="",
    )


def _carried_out(
    plan: LoadPlan, acked: int, given: Mapping[str, str], before: Sequence[str]
) -> float:
    """Carry out a load, check that every event was journalled and acked, and return the rate."""
    with tempfile.TemporaryDirectory() as folder:
        command = load_command(replace(plan, folder=folder), 120)
        _quietly([*before, *command.argv], {**command.environment, **given})
        journals = read_journals(Path(folder))
        planned = round(sum(rate * seconds for rate, seconds in plan.phases))
        if not journals.complete or len(journals.outcomes) != planned:
            raise RuntimeError(f"{len(journals.outcomes)} of {planned} events are in the journal")
        if set(journals.outcomes["code"].tolist()) != {acked}:
            raise RuntimeError("not every event was acked")
        figures = load_figures(Times.of(Operations(journals.intents, journals.outcomes)))
    return figures.rate_kept_per_s if figures else 0.0


def fast(url: str) -> float:
    """Return how many requests a second Locust's FastHttpUser makes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fast.py"
        file.write_text(_FAST, encoding="utf-8")
        users = str(CONNECTIONS)
        _quietly(
            [
                *(*_CLIENT, sys.executable, "-m", "locust", "-f", str(file), "--headless"),
                *("--users", users, "--spawn-rate", users, "--run-time", f"{SECONDS}s"),
                *("--host", url.removesuffix("/events"), "--json-file", f"{folder}/out"),
                "--only-summary",
            ],
            {},
        )
        stats = json.loads((Path(folder) / "out.json").read_text(encoding="utf-8"))
    entry = stats[0]
    seconds = entry["last_request_timestamp"] - entry["start_time"]
    return float(entry["num_requests"] / seconds)


def _k6(url: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "k6.js").write_text(_K6, encoding="utf-8")
        out = Path(folder) / "out.json"
        _quietly(
            [
                *(*_CLIENT, str(tools.found("k6")), "run", "--quiet", "--vus", str(CONNECTIONS)),
                *("--duration", f"{SECONDS}s", "--summary-export", str(out)),
                *("-e", f"URL={url}", f"{folder}/k6.js"),
            ],
            {"GOMAXPROCS": "1"},
        )
        found = json.loads(out.read_text(encoding="utf-8"))
    return float(found["metrics"]["http_reqs"]["rate"])


def _vegeta(url: str) -> float:
    vegeta = str(tools.found("vegeta"))
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_text(_BODY, encoding="utf-8")
        targets = Path(folder) / "targets"
        targets.write_text(f"POST {url}\nContent-Type: application/json\n@{body}\n", "utf-8")
        hits = f"{folder}/hits"
        _quietly(
            [
                *(*_CLIENT, vegeta, "attack", "-rate", "0", "-max-workers", str(CONNECTIONS)),
                *("-duration", f"{SECONDS}s", "-targets", str(targets), "-output", hits),
            ],
            {"GOMAXPROCS": "1"},
        )
        text = _quietly([vegeta, "report", "-type", "json", hits], {})
    return float(json.loads(text)["rate"])


def _wrk(url: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(_WRK, encoding="utf-8")
        connections = ("-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", "-s", str(script))
        text = _quietly([*_CLIENT, str(tools.found("wrk")), *connections, url], tools.environment())
    match = re.search(r"Requests/sec:\s*([\d.]+)", text)
    if match is None:
        raise RuntimeError(f"wrk said: {text}")
    return float(match[1])


_OTHERS: dict[str, Callable[[str], float]] = {"k6": _k6, "vegeta": _vegeta, "wrk": _wrk}


def _quietly(command: list[str], more: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=os.environ | more, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-800:]}")
    return done.stdout
