"""The journalled open load beside load generators without a journal, one core each side.

The server is nginx with one worker on core 0; each contender runs on core 1. Ours is asked
for more than it can do, and must have journalled every event; then for fixed rates, to see
how well these are kept.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import tools
from bench.report import Goal, Report, Row, at_least, at_most, median
from harness.ledger.records import Told
from harness.ledger.stats import load_figures
from harness.load.plan import LoadPlan
from harness.load.process import load_command
from harness.load.reading import read_journals
from harness.ports import free_ports
from harness.target import Http

NAME = "load"
SECONDS = 5
CONNECTIONS = 64
EVENTS = 100_000
RATES = (200, 2_000, 10_000)
SERVER, CLIENT = ("taskset", "-c", "0"), ("taskset", "-c", "1")
_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 202 "{{}}"; }} }}
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


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Let each contender send as fast as it can, in turn; then ours at fixed rates."""
    ways: dict[str, Callable[[str], float]] = {
        "lossmeter, journalled": _ours,
        "Locust FastHttpUser": _fast,
        **{name: way for name, way in _OTHERS.items() if tools.found(name)},
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    with _nginx() as url:
        for number in range(rounds):
            for name, way in ways.items():
                say(f"round {number + 1} of {rounds}: {name}")
                found[name].append(way(url))
        kept = {rate: [_kept(url, rate) for _ in range(min(rounds, 3))] for rate in RATES}
    rates = {name: median(each) for name, each in found.items()}
    ours = rates["lossmeter, journalled"]
    rows = [
        Row(name, "POST", round(rate), "requests/s", ours / rate) for name, rate in rates.items()
    ]
    return Report(
        NAME,
        "Load from one core",
        f"{CONNECTIONS} connections to nginx on the other core.",
        rounds,
        rows,
        [
            at_least("times FastHttpUser", ours / rates["Locust FastHttpUser"], 3),
            *(_ahead(name, ours, rates.get(name)) for name in ("k6", "vegeta")),
            *(
                at_most(f"% off the asked {rate}/s", _worst(rate, each), 1)
                for rate, each in kept.items()
            ),
        ],
    )


def _ahead(name: str, ours: float, other: float | None) -> Goal:
    return at_least(f"times {name}", ours / other if other else None, 1)


def _worst(rate: float, kept: list[float]) -> float:
    return max(abs(each - rate) / rate * 100 for each in kept)


@contextmanager
def _nginx() -> Iterator[str]:
    program = tools.found("nginx")
    if program is None:
        raise RuntimeError("nginx is missing; bring it with `python -m bench.tools`")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port), encoding="utf-8")
        server = subprocess.Popen([*SERVER, program, "-c", str(config), "-p", folder])
        try:
            _until_there(f"http://127.0.0.1:{port}/events")
            yield f"http://127.0.0.1:{port}/events"
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


def _ours(url: str) -> float:
    return _load(url, 100_000.0, EVENTS / 100_000, CONNECTIONS)


def _kept(url: str, rate_per_s: float) -> float:
    return _load(url, rate_per_s, SECONDS, 256)


def _load(url: str, rate_per_s: float, seconds: float, most: int) -> float:
    """Carry out a load, check that every event was journalled, and return the rate."""
    http = Http()
    with tempfile.TemporaryDirectory() as folder:
        plan = LoadPlan(
            host="127.0.0.1",
            port=int(url.split(":")[2].split("/", maxsplit=1)[0]),
            path="/events",
            body=http.body,
            accepted=[202],
            refused=[],
            timeout_s=10,
            phases=[(rate_per_s, seconds)],
            producers=8,
            payload_bytes=64,
            max_in_flight=most,
            seed=1,
            folder=folder,
        )
        command = load_command(plan, 60)
        _quietly([*CLIENT, *command.argv], command.environment)
        journals = read_journals(Path(folder))
        planned = round(rate_per_s * seconds)
        if not journals.complete or len(journals.outcomes) != planned:
            raise RuntimeError(f"{len(journals.outcomes)} of {planned} events are in the journal")
        if set(journals.outcomes["code"].tolist()) != {202}:
            raise RuntimeError("the server did not accept every event")
        figures = load_figures(Told(journals.intents, journals.outcomes))
    return figures.rate_kept_per_s if figures else 0.0


def _fast(url: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fast.py"
        file.write_text(_FAST, encoding="utf-8")
        users = str(CONNECTIONS)
        _quietly(
            [
                *(*CLIENT, sys.executable, "-m", "locust", "-f", str(file), "--headless"),
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
                *(*CLIENT, str(tools.found("k6")), "run", "--quiet", "--vus", str(CONNECTIONS)),
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
                *(*CLIENT, vegeta, "attack", "-rate", "0", "-max-workers", str(CONNECTIONS)),
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
        text = _quietly([*CLIENT, str(tools.found("wrk")), *connections, url], tools.environment())
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
