"""From a collected run to verdict and page: what a run does at its end, beside a pandas script.

Each works in a process of its own, held to one core, on a folder with marks of six stages for
each event. A run's process has been up for long when it comes there, so the start of Python
is not counted, of neither; what a run imports only at its end is counted. Memory is the peak
of the process, libraries included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.pieces import Found, Piece, Say
from bench.recorded_runs import DOUBLED, LOST, record_collected
from bench.report import Report, Row, at_least, at_most, median

NAME = "judging"
FEWER, EVENTS = 1_000_000, 10_000_000
FEWER_S, EVENTS_S, MOST_MIB, TIMES_PANDAS = 1, 8, 400, 10

Counts = Mapping[str, int]
Measured = Mapping[str, float]


def by_lossmeter(folder: Path) -> Callable[[], Counts]:
    """Return what seals, judges and draws as a run does."""
    from lossmeter.judge.verdict import Judged  # noqa: PLC0415 - of this contender alone
    from lossmeter.record.facts import Facts  # noqa: PLC0415
    from lossmeter.run import conclusion  # noqa: PLC0415

    facts = Facts.load(folder)

    def show(folder: Path, judged: Judged) -> None:
        from lossmeter.report.page import save_run_page  # noqa: PLC0415 - imported as in a run

        save_run_page(folder, judged.result, judged)

    def conclude() -> Counts:
        return conclusion.conclude(folder, facts, show).counts.as_dict()

    return conclude


def by_pandas(folder: Path) -> Callable[[], Counts]:
    """Return what does the same with pandas."""
    from bench.peer_pandas import conclude  # noqa: PLC0415 - of this contender alone

    return lambda: conclude(folder)


CONTENDERS: Mapping[str, Callable[[Path], Callable[[], Counts]]] = {
    "lossmeter": by_lossmeter,
    "pandas": by_pandas,
}


def measure(name: str, folder: Path) -> tuple[Measured, Counts]:
    """Let one contender conclude a run in this process: seconds, seconds of CPU, MiB, counts."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    conclude = CONTENDERS[name](folder)
    begin, used = time.perf_counter(), _cpu_s()
    counts = conclude()
    took = {"seconds": time.perf_counter() - begin, "cpu_s": _cpu_s() - used, "mib": _peak_mib()}
    return took, counts


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def _compared(events: int) -> Callable[[Say], Mapping[str, Measured]]:
    def measured(say: Say) -> Mapping[str, Measured]:
        with tempfile.TemporaryDirectory() as place:
            say(f"recording {events:,} events")
            folder = Path(place, f"{events}")
            record_collected(folder, events)
            found, counts = {}, []
            for name in CONTENDERS:
                say(f"{name}, {events:,} events")
                found[name], classes = _in_a_process(name, folder)
                counts.append(classes)
        _agree(counts)
        return found

    return measured


def _in_a_process(name: str, folder: Path) -> tuple[Measured, Counts]:
    command = [sys.executable, "-m", "bench.judging", "--only", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took, counts = json.loads(done.stdout)
    return took, counts


def _agree(counts: list[Counts]) -> None:
    """Raise where a contender finds other events than the pandas script, or than were made."""
    ours, theirs = counts
    odd = [name for name, number in theirs.items() if ours[name] != number]
    if odd or ours["lost"] != LOST or ours["duplicated"] != DOUBLED:
        raise RuntimeError(f"the contenders disagree on {odd}: {ours}, {theirs}")


PIECES = {"1M": Piece(_compared(FEWER)), "10M": Piece(_compared(EVENTS), 3)}


def report(found: Found) -> Report:
    """Put both sizes side by side."""
    rows, goals = [], []
    for piece, events, most_s in (("1M", FEWER, FEWER_S), ("10M", EVENTS, EVENTS_S)):
        figures = {
            name: {of: median([each[name][of] for each in found[piece]]) for of in _FIGURES}
            for name in CONTENDERS
        }
        ours, theirs = figures["lossmeter"], figures["pandas"]
        times = theirs["cpu_s"] / ours["cpu_s"]
        rows += [_row(name, events, each, ours) for name, each in figures.items() if found[piece]]
        goals += [
            at_most(f"seconds of one core for {events:,} events", ours["cpu_s"], most_s),
            at_most(f"MiB at most for {events:,} events", ours["mib"], MOST_MIB),
            at_least(f"times as fast as pandas for {events:,} events", times, TIMES_PANDAS),
        ]
    return Report(
        NAME,
        "From a collected run to verdict and page",
        "Digests, classes, self-proof, figures, stages of lost events and the page with its "
        "charts; a folder with six marks an event, one core, CPU seconds.",
        min((len(found[piece]) for piece in PIECES if found[piece]), default=0),
        rows,
        goals,
    )


_FIGURES = ("seconds", "cpu_s", "mib")


def _row(name: str, events: int, own: Measured, ours: Measured) -> Row:
    return Row(
        f"{name}, {events // 1_000_000} M",
        "judges and draws" if name == "pandas" else "judges, proves itself and draws",
        round(own["cpu_s"], 3),
        "seconds",
        None if name == "lossmeter" else round(own["cpu_s"] / ours["cpu_s"], 2),
        f"{own['mib']:.0f} MiB at most; {own['seconds']:.1f} s by the clock",
    )


def main() -> None:
    """Measure one contender, for ``_in_a_process`` above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CONTENDERS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    asked = parser.parse_args()
    json.dump(measure(asked.only, asked.folder), sys.stdout)


if __name__ == "__main__":
    main()
