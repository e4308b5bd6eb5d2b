"""The guides in docs/, as their readers use them: commands typed in order, outputs compared.

A fenced block ``console`` holds commands, each after ``$ ``, with what they print below. What
is shown may be shorter than what is printed: a line of ``…`` stands for lines left out, ``…``
at the end of a line for the rest of it. Numbers differ from run to run, so any number stands
for any other; every word must be printed as shown. A command must end with exit code 0, unless
``$ echo $?`` follows and shows another.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# What a clone holds that the commands need; the package itself is the installed one.
CLONED = ("docs", "experiments", "targets", "Makefile", "pyproject.toml")
LOCKED = ("requirements.lock", "bootstrap.lock")
CUT = "…"
ASKS_CODE = "echo $?"
LIMIT_S = 240

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = re.compile(r"\b[0-9a-f]{32}\b|\d[\d.,:TZ-]*")
_RULE = re.compile(r"[─━]+")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a guide, and what the guide shows of its output."""

    guide: str
    command: str
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command really printed."""

    code: int
    out: str
    err: str


def blocks(guide: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    found = _BLOCK.findall(guide.read_text(encoding="utf-8"))
    return [text for name, text in found if name == language]


def steps(guide: Path) -> list[Step]:
    """Return the commands of a guide, in order."""
    found: list[Step] = []
    for block in blocks(guide, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            found.append(Step(guide.name, command, tuple(line for line in shown if line.strip())))
    return found


def clone(to: Path) -> Path:
    """Make a folder like a fresh clone, with the environment of this one, and return it."""
    to.mkdir(parents=True)
    for name in (*CLONED, *LOCKED):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, to / name)
    (to / ".venv").symlink_to(ROOT / ".venv")
    return to


@dataclass
class Reader:
    """Types the commands of guides in one folder, each guide once."""

    folder: Path
    read: list[str] = field(default_factory=list)
    _code: int = 0

    def follow(self, guide: Path) -> Iterator[tuple[Step, Answer]]:
        """Yield each command with its answer; the code is checked by whoever looks."""
        self.read.append(guide.name)
        for step in steps(guide):
            yield step, self._type(step.command)

    def _type(self, command: str) -> Answer:
        typed = f"(exit {self._code}); {command}"
        done = subprocess.run(
            ["bash", "-c", typed],
            cwd=self.folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        self._code = done.returncode
        return Answer(done.returncode, done.stdout, done.stderr)


def unlike(step: Step, answer: Answer) -> list[str]:
    """Return the shown lines that were not printed, each stream in its own order."""
    streams = [_normal(text.splitlines()) for text in (answer.out, answer.err)]
    at = [0, 0]
    missing = []
    for line in step.shown:
        if line.strip() == CUT:
            continue
        wanted = _normal([line])[0]
        for number, printed in enumerate(streams):
            place = _find(printed, wanted, at[number])
            if place is not None:
                at[number] = place + 1
                break
        else:
            missing.append(line)
    return missing


def _find(printed: Sequence[str], wanted: str, begin: int) -> int | None:
    for place in range(begin, len(printed)):
        line = printed[place]
        if line == wanted or (wanted.endswith(CUT) and line.startswith(wanted[: -len(CUT)])):
            return place
    return None


def _normal(lines: Sequence[str]) -> list[str]:
    """Return lines with any number as one sign, and any space or rule as one."""
    return [" ".join(_RULE.sub("─", _VARIES.sub("#", line)).split()) for line in lines]
