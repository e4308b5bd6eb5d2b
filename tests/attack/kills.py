"""Kills and interrupts lossmeter at random moments, and looks for what is left.

    python -m tests.attack.kills --kills 200 --within-min 45 --seed 1
    python -m tests.attack.kills --case 17          one case again, with what it printed

Each case starts a short run with one fault, strikes at one moment and waits for the end; a few
go at the same time. Then ``lossmeter recover`` tidies up, and the machine is looked at
(``tests.attack.leftovers``). Whatever is there and was not there before is left over, and makes
the exit code 1. What was seen goes into ``kills.jsonl``; ``kills.md`` sums it up.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from itertools import count, islice
from pathlib import Path

import docker
import psutil

from lossmeter.plugins import load
from lossmeter.world import runtimes
from lossmeter.world.install.cache import VARIABLE, cache_root
from lossmeter.world.runtimes._docker_events import RUN_LABEL
from tests.attack.busy import longer
from tests.attack.kill_cases import (
    AT_ONCE,
    CELLS,
    GENTLE,
    INTERRUPTS,
    JOURNAL,
    MOMENTS,
    VICTIMS,
    Case,
    Seen,
    table,
)
from tests.attack.leftovers import (
    EVERYTHING,
    WAITED_FOR,
    Look,
    become_subreaper,
    below,
    descendants,
    reap,
)

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "tests" / "attack" / "short_faults.py"
SHOWN = ROOT / "results" / "attack"
COMMAND = (sys.executable, "-m", "lossmeter.cli")
DOCUMENTED = (0, 1, 2, 3, 4, 5, 7)
# Limits are those of a machine with a free processor: see busy.py.
# A run of these experiments, interrupted or with a server killed, is over within.
ENDS_WITHIN_S = {"local": 60.0, "docker": 90.0, "kubernetes": 180.0}
AFTER_SECOND_INTERRUPT_S = 10.0
# What was killed takes a moment to go; a namespace takes the time of its pods.
GONE_WITHIN_S = {"local": 5.0, "docker": 15.0, "kubernetes": 90.0}
STRIKES_WITHIN_S = 90.0
RECOVERS_WITHIN_S = 120.0
VICTIM_WITHIN_S = 3.0


class Running:
    """A run of lossmeter in a folder of its own."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output.txt"
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        names = ("experiments", "targets", "tests")
        for name in names:
            (folder / name).symlink_to(ROOT / name)
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            # The fonts that drawing looks for once are no run's.
            "MPLCONFIGDIR": str(Path.home() / ".cache" / "matplotlib"),
            "COLUMNS": "200",
            VARIABLE: str(cache_root()),
        }
        argv = ["run", str(EXPERIMENT), "--variant", case.fault, "--target", case.target]
        with self.output.open("wb") as sink:
            self.popen = subprocess.Popen(
                [*COMMAND, *argv, "--runtime", case.runtime, "--seed", str(case.number)],
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=self.environment,
                start_new_session=True,
            )
        WAITED_FOR.add(self.popen.pid)

    def said(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, moment: str) -> bool:
        """Wait for a moment of the run; return whether it came."""
        word, begun = MOMENTS[moment][0], time.monotonic()
        while self.popen.poll() is None and not _over(begun, STRIKES_WITHIN_S):
            written = word == JOURNAL and any(self.folder.glob(f"results/runs/*/{word}"))
            if written or word in self.said():
                return True
            time.sleep(0.02)
        return False

    def end(self, within_s: float) -> bool:
        """Wait for its end; return whether it came in time. Then nothing of it is waited for."""
        begun = time.monotonic()
        while self.popen.poll() is None and not _over(begun, within_s):
            time.sleep(0.02)
        if self.popen.poll() is not None:
            return True
        self.popen.kill()
        self.popen.wait()
        return False

    def recover(self) -> str | None:
        """Run ``lossmeter recover``; return what was wrong with it."""
        argv, folder = [*COMMAND, "recover"], self.folder
        try:
            done = subprocess.run(
                argv,
                cwd=folder,
                env=self.environment,
                timeout=RECOVERS_WITHIN_S * longer(),
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"recover did not end within {RECOVERS_WITHIN_S:g} s"
        if done.returncode != 0 or "Traceback" in done.stderr:
            return f"recover ended with {done.returncode}: {done.stderr[-500:]}"
        return None


def _over(begun: float, within_s: float) -> bool:
    """Return whether more has passed since a moment than the machine, as busy as it is, allows."""
    return time.monotonic() - begun > within_s * longer()


def strike(case: Case, running: Running) -> bool:
    """Strike; return whether there was something to strike."""
    if case.kind in VICTIMS:
        return _strike_one(VICTIMS[case.kind], running.popen.pid)
    if running.popen.poll() is not None:
        return False
    if case.kind == "SIGINT to all":
        # As a terminal does, whose foreground group a run's own processes may be in.
        os.killpg(running.popen.pid, signal.SIGINT)
    elif case.kind == "second SIGINT":
        running.popen.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            running.popen.wait(case.gap_s)
        running.popen.send_signal(signal.SIGINT)
    else:
        running.popen.send_signal(INTERRUPTS.get(case.kind, signal.SIGKILL))
    return True


def _strike_one(names: Sequence[str], harness: int) -> bool:
    """Kill the first process of a run that has one of these names; return whether there was one."""
    begun = time.monotonic()
    while not _over(begun, VICTIM_WITHIN_S):
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(harness).children(recursive=True):
                called = f"{process.name()} {' '.join(process.cmdline())}"
                if any(name in called for name in names):
                    process.kill()
                    return True
        if _strike_container(names, harness):
            return True
        time.sleep(0.1)
    return False


def _strike_container(names: Sequence[str], harness: int) -> bool:
    try:
        engine = docker.from_env()
    except docker.errors.DockerException:
        return False
    try:
        for container in engine.api.containers(filters={"label": RUN_LABEL}):
            called = f"{container['Names']} {container['Image']}"
            its = f":{harness}:" in container["Labels"][RUN_LABEL]
            if its and any(each in called for each in names):
                with suppress(docker.errors.APIError):
                    engine.api.kill(container["Id"])
                    return True
    finally:
        engine.close()
    return False


def carry_out(cases: Sequence[Case], among: Sequence[str], *, show: bool = False) -> list[Seen]:
    """Carry out cases at the same time, tidy up once, and look at what is left of some kinds."""
    cluster = any(case.runtime == "kubernetes" for case in cases)
    look = partial(Look.now, among, kubernetes=cluster)
    before = look()
    every = [Seen(case) for case in cases]
    runs = [Running(case, Path(tempfile.mkdtemp(prefix="tmp"))) for case in cases]
    try:
        with ThreadPoolExecutor(len(cases)) as threads:
            list(threads.map(_one, every, runs))
        slowest = max((case.runtime for case in cases), key=GONE_WITHIN_S.__getitem__)
        if all(case.kind in GENTLE for case in cases):
            _blame(every, "unclean", _left(before, look, runs, slowest))
        problem = runs[0].recover()
        _blame(every, "wrong", [problem] if problem else [])
        _blame(every, "left", _left(before, look, runs, slowest))
    finally:
        for seen, running in zip(every, runs, strict=True):
            if show or seen.bad:
                sys.stdout.write(f"{seen.case}\n{running.said()[-3000:]}\n")
            shutil.rmtree(running.folder, ignore_errors=True)
        for process in descendants():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        reap()
    return every


def _blame(every: Sequence[Seen], name: str, what: Sequence[str]) -> None:
    """Note what was seen of all; whose it is shows when each of them is carried out alone."""
    for seen in every:
        getattr(seen, name).extend(what)


def _one(seen: Seen, running: Running) -> None:
    case = seen.case
    if running.wait_for(case.moment):
        time.sleep(case.delay_s)
        seen.struck = strike(case, running)
    _ended(seen, running)


def _ended(seen: Seen, running: Running) -> None:
    """Wait for the end of the run, and look at how it came."""
    case, struck = seen.case, time.monotonic()
    second = case.kind == "second SIGINT" and seen.struck
    within_s = AFTER_SECOND_INTERRUPT_S if second else ENDS_WITHIN_S[case.runtime]
    if not running.end(within_s):
        seen.wrong.append(f"it did not end within {within_s:g} s")
    seen.took_s = round(time.monotonic() - struck, 1)
    seen.code = running.popen.returncode
    # An interpreter that is only just starting has no handlers yet.
    starting = case.moment == "start"
    if seen.code not in DOCUMENTED and not (
        (seen.code == -signal.SIGKILL and case.kind == "SIGKILL") or starting
    ):
        seen.wrong.append(f"exit code {seen.code} is not documented")
    if "Traceback" in running.said() and not starting:
        seen.wrong.append("it printed a traceback")


def _left(
    before: Look, look: Callable[[], Look], runs: Sequence[Running], runtime: str
) -> list[str]:
    """Return what is left when it has had its time to go."""
    begun = time.monotonic()
    while True:
        left = look().left_since(before)
        left += [x for run in runs for name in ("tmp", "home") for x in below(run.folder / name)]
        if not left or _over(begun, GONE_WITHIN_S[runtime]):
            return left
        time.sleep(0.5)


def available() -> list[str]:
    """Return the names of the runtimes that are up."""
    return [name for name in CELLS if load(runtimes, name, "runtime").RUNTIME.unavailable() is None]


def _heed_interrupts() -> None:
    """Have runs hear what is sent to them, also where a shell had this script ignore it."""
    for number in INTERRUPTS.values():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _read(file: Path) -> list[Seen]:
    if not file.is_file():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Seen(**{**line, "case": Case(**line["case"])}) for line in lines]


def main(arguments: Sequence[str]) -> int:
    """Carry out the cases, write the tables and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200, help="strikes, those of before included")
    parser.add_argument("--within-min", type=float, default=45.0, help="begin no case after this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runtime", action="append", choices=[*CELLS], help="default: what is up")
    parser.add_argument("--look", action="append", choices=EVERYTHING, help="default: at all")
    parser.add_argument("--case", type=int, help="carry out this case alone, and write nothing")
    parser.add_argument(
        "--fresh", action="store_true", help="forget the cases of before, not only the bad ones"
    )
    parser.add_argument("--to", type=Path, default=SHOWN, help="where the tables go")
    asked = parser.parse_args(arguments)
    become_subreaper()
    _heed_interrupts()
    up = asked.runtime or available()
    sys.stdout.write(f"seed {asked.seed}, runtimes {', '.join(up)}\n")
    if asked.case is not None:
        case = Case.choose(asked.seed, asked.case, up)
        sys.stdout.write(f"{case}\n")
        (seen,) = carry_out([case], asked.look or EVERYTHING, show=True)
        sys.stdout.write(f"{seen}\n")
        return 1 if seen.bad else 0
    raw = asked.to / "kills.jsonl"
    # What a first run brings for those to come is nothing that it left.
    subprocess.run([sys.executable, "-m", "lossmeter.world.services"], check=True)
    # What was bad is carried out again.
    well = [] if asked.fresh else [seen for seen in _read(raw) if not seen.bad]
    every = _all(asked, up, well, raw)
    (asked.to / "kills.md").write_text(table(every, asked.seed), encoding="utf-8")
    if (struck := sum(seen.struck for seen in every)) < asked.kills:
        sys.stdout.write(f"{asked.within_min:g} min were over at {struck} of {asked.kills}\n")
    return 1 if any(seen.bad for seen in every) else 0


def _all(asked: argparse.Namespace, up: Sequence[str], every: list[Seen], raw: Path) -> list[Seen]:
    raw.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + asked.within_min * 60
    done = {seen.case.number for seen in every}
    to_come = (number for number in count() if number not in done)
    while sum(seen.struck for seen in every) < asked.kills and time.monotonic() < deadline:
        cases = [Case.choose(asked.seed, each, up) for each in islice(to_come, AT_ONCE)]
        for seen in carry_out(cases, asked.look or EVERYTHING):
            every.append(seen)
            case, what = seen.case, "; ".join(seen.bad) or "nothing left"
            sys.stdout.write(
                f"{case.number}: {case.kind} at {case.moment} + {case.delay_s} s, {case.fault} on "
                f"{case.target}, {case.runtime}: exit code {seen.code} after {seen.took_s} s, "
                f"{what if seen.struck else 'missed'}\n"
            )
        sys.stdout.flush()
        every.sort(key=lambda seen: seen.case.number)
        raw.write_text("".join(f"{json.dumps(asdict(s))}\n" for s in every), encoding="utf-8")
    return every


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
