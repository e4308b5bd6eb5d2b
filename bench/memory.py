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

import numpy as np
import psycopg

from bench.report import Report, Row, at_most, median
from bench.servers import serving
from harness.budget import Budget
from harness.collect import Auditor
from harness.facts import Facts, FaultRecord
from harness.judge import judge_run
from harness.ledger.stages import HEADER as MARKS_HEADER
from harness.ledger.stages import MAGIC as MARKS_MAGIC
from harness.ledger.stages import RECORD as MARK_RECORD
from harness.ledger.stages import Stage
from harness.load.journal import END, HEADER, INTENT, MAGIC, OUTCOME
from harness.load.reading import RECORD_DTYPE
from harness.marks import FOLDER, save_marks
from harness.model import Evidence, Status, Verdict
from harness.report.page import save_run_page
from harness.target import Persisted

NAME = "memory"
SIZES = (100_000, 1_000_000, 10_000_000)
MILLION = 1_000_000
MOST_MIB = 300
PRODUCERS, LOST, RATE_PER_S = 64, 500, 5_000
START_NS = 1_700_000_000 * 10**9
STEPS = ("collect", "marks", "judge", "page")
_PERSISTED_STAGES = (
    *(Stage.ACCEPTED, Stage.QUEUED, Stage.TAKEN),
    *(Stage.HANDLING, Stage.PERSISTED, Stage.ACKNOWLEDGED),
)
_LOST_STAGES = (Stage.ACCEPTED, Stage.QUEUED)

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
            "; ".join([_told(step, found[events]) for step in STEPS]),
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


def _told(step: str, runs: Sequence[Measured]) -> str:
    mib, seconds = (median([each[name] for each in runs]) for name in (step, f"{step}_s"))
    return f"{step} {mib:.0f} MiB in {seconds:.1f} s"


def record(folder: Path, events: int) -> None:
    """Write what a run of so many events has recorded when its load is over."""
    (folder / FOLDER).mkdir(parents=True)
    at_ns = START_NS + np.arange(events) * (10**9 // RATE_PER_S)
    place = np.arange(events)
    lost = (place >= events // 2 - LOST) & (place < events // 2)
    _journal(folder, place, at_ns)
    _marks(folder, place, at_ns, lost)
    _samples(folder, events)
    struck_ns = int(at_ns[events // 2])
    seen = [
        Evidence(source, "so", "so", holds=True, at_ns=struck_ns)
        for source in ("waitpid", "kernel")
    ]
    Facts(
        run_id=folder.name,
        experiment="crash",
        hypothesis="a recorded run",
        target="channel",
        ack_level="enqueued",
        runtime="local",
        seed=1,
        events_planned=events,
        rate_per_s=RATE_PER_S,
        exact=False,
        budget=Budget(max_lost=LOST),
        faults=[
            FaultRecord(
                fault="sigkill",
                injected_ns=struck_ns,
                healed_ns=struck_ns + 10**9,
                evidence=seen,
            )
        ],
        hashes_measured=True,
        positions_measured=True,
        times_measured=True,
        load_exit_code=0,
        settled=True,
        collected=True,
        stages_marked=True,
    ).save(folder)
    (folder / "environment.json").write_text("{}", encoding="utf-8")


def _journal(folder: Path, place: np.ndarray, at_ns: np.ndarray) -> None:
    records = np.zeros((len(place), 2), RECORD_DTYPE)
    for told in (records[:, 0], records[:, 1]):
        told["producer"], told["sequence"] = place % PRODUCERS, place // PRODUCERS
    records["kind"] = (INTENT, OUTCOME)
    records[:, 0]["scheduled_ns"] = records[:, 0]["at_ns"] = at_ns
    records[:, 0]["payload_hash"] = place * 7919
    records[:, 1]["at_ns"] = at_ns + 2_000_000
    records[:, 1]["status"], records[:, 1]["code"] = Status.ACKED, 202
    end = np.zeros(1, RECORD_DTYPE)
    end["kind"], end["sequence"] = END, len(place)
    with (folder / "journal-0.bin").open("wb") as sink:
        sink.write(HEADER.pack(MAGIC, 0, PRODUCERS, 1, START_NS, 0, 0))
        sink.write(records.data)
        sink.write(end.data)


def _marks(folder: Path, place: np.ndarray, at_ns: np.ndarray, lost: np.ndarray) -> None:
    steps = len(_PERSISTED_STAGES)
    marks = np.zeros((len(place), steps), MARK_RECORD)
    marks["producer"], marks["sequence"] = (
        (place % PRODUCERS)[:, None],
        (place // PRODUCERS)[:, None],
    )
    marks["stage"] = _PERSISTED_STAGES
    marks["at_ns"] = at_ns[:, None] + np.arange(steps) * 1000
    kept = ~lost[:, None] | (np.arange(steps) < len(_LOST_STAGES))
    boot_id = b"0" * 32
    with (folder / FOLDER / f"stages-{boot_id.decode()}.bin").open("wb") as sink:
        sink.write(MARKS_HEADER.pack(MARKS_MAGIC, boot_id, marks.size, START_NS, 0, 0))
        sink.write(marks[kept].tobytes())


def _samples(folder: Path, events: int) -> None:
    with (folder / "probe.jsonl").open("w", encoding="utf-8") as sink:
        for number in range(events * 100 // RATE_PER_S):
            at_ns = START_NS + number * 10_000_000
            look = {"asked_ns": at_ns, "answered_ns": at_ns, "ok": True, "queue_length": 10}
            sink.write(json.dumps(look) + "\n")


def _in_a_process(folder: Path, url: str) -> Measured:
    command = [sys.executable, "-m", "bench.memory", "--folder", str(folder), "--url", url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: Measured = json.loads(done.stdout)
    return measured


def measure(folder: Path, url: str) -> Measured:
    """Do the harness's work on one run in this process; peak in MiB and seconds of each step."""
    peaks = {"start": _peak_mib()}

    def collect() -> None:
        Auditor(url, Persisted(query=QUERY)).save(folder)

    def judge() -> None:
        result = judge_run(folder)
        if result.verdict is not Verdict.PASS or result.counts.lost != LOST:
            raise RuntimeError(f"{result.verdict}: {result.reason}")
        result.save(folder)

    steps: tuple[Callable[[], object], ...] = (
        collect,
        lambda: save_marks(folder),
        judge,
        lambda: save_run_page(folder),
    )
    for name, step in zip(STEPS, steps, strict=True):
        begin = time.monotonic()
        step()
        peaks[name] = _peak_mib()
        peaks[f"{name}_s"] = time.monotonic() - begin
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
