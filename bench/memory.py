"""How much memory the harness takes for a run of a million events, and of three.

What a run has recorded by the end of its load is written as a real run would have written
it: journal, marks, probe samples, and rows in a real PostgreSQL. Then a process of its own
does what the harness does from there: it collects, judges with its self-proof, and draws the
page. Of each step the peak of its resident memory is read from the kernel, everything that
Python and the libraries take included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg

from bench.recorded_runs import LOST, PRODUCERS, RATE_PER_S, START_NS, record
from bench.report import Report, Row, at_most, median
from bench.servers import serving
from lossmeter.judge.verdict import Judged
from lossmeter.model import Verdict
from lossmeter.plan.target import Persisted
from lossmeter.record.facts import Facts
from lossmeter.record.marks import save_marks
from lossmeter.report.page import save_run_page
from lossmeter.run.conclusion import conclude
from lossmeter.world.auditor import auditor

NAME = "memory"
SIZES = (100_000, 1_000_000, 10_000_000)
MILLION = 1_000_000
MOST_MIB = 300
STEPS = ("collect", "marks", "judge", "page")

QUERY = "select producer, sequence, payload_hash, position, persisted_at from held"
_MAKE = f"""
create unlogged table held as
select i % {PRODUCERS} as producer, i / {PRODUCERS} as sequence, i * 7919 as payload_hash,
       i as position, to_timestamp({START_NS // 10**9} + i / {RATE_PER_S}.0) as persisted_at
from generate_series(0::bigint, {{events}} - 1) as i
where i not between {{events}} / 2 - {LOST} and {{events}} / 2 - 1
"""  # noqa: S608 - numbers of this file

Measured = Mapping[str, float]


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Record runs of several lengths, and let a process each collect, judge and draw them."""
    found: dict[int, list[Measured]] = {events: [] for events in SIZES}
    with serving("postgres") as servers, tempfile.TemporaryDirectory() as place:
        url = servers["postgres"]["url"]
        for events in SIZES:
            say(f"recording {events:,} events")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("drop table if exists held")
                connection.execute(_MAKE.format(events=events).encode())
            for number in range(rounds if events == MILLION else 1):
                say(f"round {number + 1} of {rounds}: {events:,} events")
                folder = Path(place) / f"{events}-{number}"
                record(folder, events)
                found[events].append(_in_a_process(folder, url))
    return _report(found, rounds)


def _report(found: Mapping[int, list[Measured]], rounds: int) -> Report:
    peaks = {
        events: {step: median([each[step] for each in runs]) for step in ("start", *STEPS)}
        for events, runs in found.items()
    }
    most = {events: max(peak.values()) for events, peak in peaks.items()}
    few, many = SIZES[0], SIZES[-1]
    rows = [
        Row(
            f"{events:,} events",
            "collects, judges, draws the page",
            round(most[events], 1),
            "MiB at most",
            None,
            "; ".join([_described(step, found[events]) for step in STEPS]),
        )
        for events in found
    ]
    growth = (most[many] - most[few]) / ((many - few) / MILLION)
    return Report(
        NAME,
        "Memory of the harness",
        "Peak of the resident memory of one process, libraries included; the larger and the "
        "smaller run once.",
        rounds,
        rows,
        [
            at_most("MiB for a run of 1 million events", most[MILLION], MOST_MIB),
            at_most("MiB more for each further million, to be flat", growth, 10),
        ],
    )


def _described(step: str, runs: Sequence[Measured]) -> str:
    mib, seconds = (median([each[name] for each in runs]) for name in (step, f"{step}_s"))
    return f"{step} {mib:.0f} MiB in {seconds:.1f} s"


def _in_a_process(folder: Path, url: str) -> Measured:
    command = [sys.executable, "-m", "bench.memory", "--folder", str(folder), "--url", url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: Measured = json.loads(done.stdout)
    return measured


def measure(folder: Path, url: str) -> Measured:
    """Do the harness's work on one run in this process; peak in MiB and seconds of each step."""
    peaks = {"start": _peak_mib()}

    def collect() -> None:
        auditor("bench", Persisted(database=url, query=QUERY)).save(folder)

    begin = time.monotonic()

    def over(name: str) -> None:
        nonlocal begin
        peaks[name], now = _peak_mib(), time.monotonic()
        peaks[f"{name}_s"], begin = now - begin, now

    def show(folder: Path, judged: Judged) -> None:
        over("judge")
        save_run_page(folder, judged.result, judged)
        over("page")

    collect()
    over("collect")
    save_marks(folder)
    over("marks")
    result = conclude(folder, Facts.load(folder), show)
    if result.verdict is not Verdict.PASS or result.counts.lost != LOST:
        raise RuntimeError(f"{result.verdict}: {result.reason}")
    return peaks


def _peak_mib() -> float:
    """Return the peak since the last call."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--url", required=True)
    asked = parser.parse_args()
    json.dump(measure(asked.folder, asked.url), sys.stdout)
