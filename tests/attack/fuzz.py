"""Gives lossmeter inputs that nobody expects, and looks at how it takes them.

    python -m tests.attack.fuzz --inputs 3000 --seed 1
    python -m tests.attack.fuzz --case 17           one input again, with what it printed

Wrong are tracebacks, hangs, exit codes that are not documented, passwords in what is printed,
and a pass of a run whose data show a failure. Most inputs are given to a process forked from
this one, which has imported lossmeter once; odd surroundings to a process of their own. What
was seen goes into ``fuzz.md``. Nothing is started: runtimes are named that cannot be reached.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import pkgutil
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import lossmeter as package
from lossmeter.cli import main as lossmeter
from tests.attack.busy import longer
from tests.attack.fuzz_files import ROOT, failing_run
from tests.attack.fuzz_inputs import KINDS, WEIGHTS, Input
from tests.attack.made_on import made_on

SHOWN = ROOT / "results" / "attack"
DOCUMENTED = (0, 1, 3, 4, 5, 7)
INTERRUPTED = 2
HANGS_AFTER_S = 20.0
# What serves or waits by design is interrupted after this.
SERVES_S = 3.0
WAITS = ("serve", "load-worker", "replay")
MEMORY_BYTES = 6 * 2**30
AT_ONCE = 2
# From linux/prctl.h and linux/capability.h.
_DROP_FROM_BOUNDING_SET = 24
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION = 0x20080522
SECRET = "secret"


@dataclass(slots=True)
class Taken:
    """How one input was taken.

    Attributes:
        code: the exit code; negative for a signal.
        took_s: seconds.
        said: what was printed, on both streams.
        wrong: what was wrong, in words.
    """

    number: int
    kind: str
    given: Input
    code: int = 0
    took_s: float = 0.0
    said: str = ""
    wrong: list[str] = field(default_factory=list)


class Child:
    """One input on its way."""

    def __init__(self, number: int, kind: str, given: Input, folder: Path) -> None:
        self.taken = Taken(number, kind, given)
        self.folder = folder
        self._output = folder.with_suffix(".out")
        self._begun = time.monotonic()
        self._interrupted = False
        self._popen = self._spawned() if given.shell else None
        self.pid = self._popen.pid if self._popen else self._forked()

    def _spawned(self) -> subprocess.Popen[bytes]:
        given = self.taken.given
        with self._output.open("wb") as sink:
            return subprocess.Popen(
                ["/bin/sh", "-c", given.shell, "sh", sys.executable, *given.argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=self.folder,
                env={**os.environ, **given.environment},
                start_new_session=True,
                # This process has no threads when it starts one.
                preexec_fn=give_up_rights if given.ordinary else None,  # noqa: PLW1509
            )

    def _forked(self) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                self._become()
            finally:
                os._exit(99)
        return pid

    def _become(self) -> None:
        """Be lossmeter from here on, as if started by a user."""
        given = self.taken.given
        os.setsid()
        sink = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        empty = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((empty, sink, sink)):
            os.dup2(descriptor, number)
        os.chdir(self.folder)
        os.environ.update(given.environment)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if given.ordinary:
            give_up_rights()
        sys.argv = ["lossmeter", *given.argv]
        try:
            lossmeter()
            code: object = 0
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))

    def over(self) -> bool:
        """Look whether it has ended; end it when it hangs, and interrupt it when it serves."""
        code = self._code()
        self.taken.took_s = time.monotonic() - self._begun
        if code is not None:
            self._judge(code)
            return True
        waits = any(name in self.taken.given.argv for name in WAITS)
        if waits and not self._interrupted and self.taken.took_s > SERVES_S:
            self._interrupted = True
            os.kill(self.pid, signal.SIGINT)
        if self.taken.took_s > HANGS_AFTER_S * longer():
            os.killpg(self.pid, signal.SIGKILL)
            while self._code() is None:
                time.sleep(0.01)
            self.taken.wrong.append(f"hangs for {self.taken.took_s:.0f} s")
            self._judge(None)
            return True
        return False

    def _code(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self._popen is not None:
            return self._popen.poll()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def _judge(self, code: int | None) -> None:
        taken, given = self.taken, self.taken.given
        taken.said = self._output.read_bytes().decode(errors="replace")
        if code is not None:
            taken.code = code
            documented = (*DOCUMENTED, INTERRUPTED) if self._interrupted else DOCUMENTED
            if code not in documented:
                taken.wrong.append(f"exit code {code} is not documented")
        if "Traceback (most recent call last)" in taken.said or "defect" in taken.said:
            taken.wrong.append("a traceback")
        if given.fails and code == 0:
            taken.wrong.append("a pass of a run that fails")
        if given.secret and SECRET in taken.said:
            taken.wrong.append("a password is printed")

    def close(self) -> None:
        """Remove what it was given and what it wrote."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for path in self.folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o777)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._output.unlink(missing_ok=True)


def give_up_rights() -> None:
    """Have root's files that are closed be closed to this process too, as to other users."""
    libc = ctypes.CDLL(None)
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        libc.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for place in range(3):
        sets[place] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    libc.capset(header, sets)


def _load_everything() -> None:
    """Import what commands import where they use it, so that a forked process need not."""
    for room in ("commands", "report", "judge", "record", "plan"):
        for module in pkgutil.walk_packages([f"{package.__path__[0]}/{room}"]):
            importlib.import_module(f"{package.__name__}.{room}.{module.name}")


class Fuzz:
    """Makes inputs by seed and number, and gives them."""

    def __init__(self, seed: int, scratch: Path) -> None:
        self._seed = seed
        self._scratch = scratch
        self._run = failing_run(scratch / "template" / "20260101T000000Z-crash-1")
        _load_everything()

    def begin(self, number: int, kinds: Sequence[str]) -> Child:
        """Make an input, and begin to give it."""
        chance = random.Random(f"{self._seed}/{number}")
        kind = chance.choices(kinds, [WEIGHTS.get(each, 1.0) for each in kinds])[0]
        folder = self._scratch / f"{number}"
        for part in ("results/runs", "cache", "home"):
            (folder / part).mkdir(parents=True)
        for part in ("experiments", "targets"):
            (folder / part).symlink_to(ROOT / part)
        shutil.copytree(self._run, folder / "results" / "runs" / self._run.name)
        given = KINDS[kind](chance, folder)
        given.environment = {**self._surroundings(folder), **given.environment}
        return Child(number, kind, given, folder)

    @staticmethod
    def _surroundings(folder: Path) -> dict[str, str]:
        """Return an environment in which no runtime can be reached."""
        return {
            "DOCKER_HOST": f"unix://{folder}/no-engine.sock",
            "LOSSMETER_KUBECONFIG": f"{folder}/no-kubeconfig",
            "LOSSMETER_CACHE": f"{folder}/cache",
            "HOME": f"{folder}/home",
            "MPLCONFIGDIR": str(Path.home() / ".cache" / "matplotlib"),
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
        }

    def give_all(self, count: int, kinds: Sequence[str], within_s: float) -> list[Taken]:
        """Give so many inputs, a few at a time, and return how they were taken."""
        begun, over = time.monotonic(), list[Taken]()
        going: list[Child] = []
        numbers = iter(range(count))
        more = True
        while going or more:
            more = more and time.monotonic() - begun < within_s
            while more and len(going) < AT_ONCE:
                number = next(numbers, None)
                more = number is not None
                if number is not None:
                    going.append(self.begin(number, kinds))
            for child in [each for each in going if each.over()]:
                going.remove(child)
                over.append(child.taken)
                child.close()
                if child.taken.wrong:
                    sys.stdout.write(_line(child.taken))
                    sys.stdout.flush()
            time.sleep(0.005)
        return over


def _line(taken: Taken) -> str:
    last = " | ".join(taken.said.strip().splitlines()[-3:])[-600:]
    argv = " ".join(ascii(each) for each in taken.given.argv)[:300]
    return (
        f"{taken.number} ({taken.kind}): {'; '.join(taken.wrong)}\n"
        f"    {argv}; {taken.given.note}\n    exit code {taken.code}: {last}\n"
    )


def table(every: Sequence[Taken], seed: int) -> str:
    """Return how the inputs were taken, as Markdown, by kind."""
    names = ("a traceback", "hangs", "not documented", "a pass of", "a password")
    lines = [
        "# Inputs that nobody expects",
        "",
        "What `make attack` gave lossmeter, by `tests/attack/fuzz.py`, and how it took it.",
        "",
        f"{len(every)} inputs, seed {seed}: {sum(bool(t.wrong) for t in every)} taken wrongly.",
        "",
        (
            "| kind | inputs | tracebacks | hangs | undocumented exit codes | wrong passes |"
            " passwords | exit codes |"
        ),
        "|---" + "|--:" * 6 + "|---|",
    ]
    for kind in sorted({taken.kind for taken in every}):
        of = [taken for taken in every if taken.kind == kind]
        counts = [sum(any(name in w for w in taken.wrong) for taken in of) for name in names]
        codes = Counter(taken.code for taken in of)
        shown = ", ".join(f"{code}: {codes[code]}" for code in sorted(codes))
        lines.append(f"| {kind} | {len(of)} | {' | '.join(map(str, counts))} | {shown} |")
    wrong = [f"- {t.kind} {t.number}: {'; '.join(t.wrong)}" for t in every if t.wrong]
    return "\n".join([*lines, "", *wrong, *made_on()]) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Give the inputs, write the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--within-min", type=float, default=30.0, help="give no input after this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=[*KINDS], help="default: all in turn")
    parser.add_argument("--case", type=int, help="give this input alone, and write nothing")
    parser.add_argument("--to", type=Path, default=SHOWN, help="where the table goes")
    asked = parser.parse_args(arguments)
    kinds = asked.kind or [*KINDS]
    sys.stdout.write(f"seed {asked.seed}\n")
    with tempfile.TemporaryDirectory(prefix="tmp") as scratch:
        fuzz = Fuzz(asked.seed, Path(scratch))
        if asked.case is not None:
            return _alone(fuzz.begin(asked.case, kinds))
        every = fuzz.give_all(asked.inputs, kinds, asked.within_min * 60)
    asked.to.mkdir(parents=True, exist_ok=True)
    (asked.to / "fuzz.md").write_text(table(every, asked.seed), encoding="utf-8")
    sys.stdout.write(table(every, asked.seed))
    if len(every) < asked.inputs:
        sys.stdout.write(f"{asked.within_min:g} min were over at {len(every)} of {asked.inputs}\n")
    return 1 if any(taken.wrong for taken in every) else 0


def _alone(child: Child) -> int:
    sys.stdout.flush()
    while not child.over():
        time.sleep(0.01)
    sys.stdout.write(f"{child.taken.said}\n{_line(child.taken)}")
    child.close()
    return 1 if child.taken.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
