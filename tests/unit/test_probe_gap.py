"""Whether the probe was kept from looking: by want of CPU, and not by a target that is slow."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

STALL_S = 0.8
WATCH_S = 2.4
STOPPED_S = 0.8

# Looks for a while, and prints the gap.
PROBE = f"""
import sys, time
from pathlib import Path
from lossmeter.run.probe import HealthProbe
from lossmeter.plan.http import Http
with HealthProbe(sys.argv[1], Http(health="/", state=None), Path(sys.argv[2])) as probe:
    print("looking", flush=True)
    time.sleep({WATCH_S})
print(probe.gap_s)
"""


class Slow(BaseHTTPRequestHandler):
    """Answers late, so that the probe spends nearly all of its time in a look."""

    def do_GET(self) -> None:
        time.sleep(STALL_S)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _gap_s(url: str, sink: Path, stopped_s: float) -> float:
    """Return the gap that a probe saw which did not come to run for so long."""
    with subprocess.Popen(
        [sys.executable, "-c", PROBE, url, str(sink)], stdout=subprocess.PIPE, text=True
    ) as probe:
        assert probe.stdout is not None
        assert probe.stdout.readline() == "looking\n"
        if stopped_s:
            time.sleep(0.1)
            probe.send_signal(signal.SIGSTOP)
            time.sleep(stopped_s)
            probe.send_signal(signal.SIGCONT)
        return float(probe.stdout.readline())


def test_a_slow_target_keeps_nobody_from_looking(slow: str, tmp_path: Path) -> None:
    assert _gap_s(slow, tmp_path / "probe.jsonl", 0) < STALL_S / 2


def test_a_probe_that_does_not_come_to_run_says_so_even_in_the_middle_of_a_look(
    slow: str, tmp_path: Path
) -> None:
    assert _gap_s(slow, tmp_path / "probe.jsonl", STOPPED_S) >= STOPPED_S * 0.9
