"""From an empty folder to a gate and a test of one's own, on each Python, by the built wheel.

The folder holds an application on Celery and nothing else. The servers are in the cache
already, as at a second use; what a first use downloads is told while it does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.install import ROOT, built, do, install_into
from bench.report import Goal, Report, Row, at_most

NAME = "pythons"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TASKS = ROOT / "targets" / "frameworks" / "celery-redis" / "tasks.py"
SUITE = """
def test_nothing_is_lost(lossless_run):
    assert lossless_run("control", target="celery").lost == 0
"""
TABLE_WITHIN_S = 40
STEPS = (
    ("init", ("lossmeter", "init", "--table", "notice")),
    ("check", ("lossmeter", "check", "celery", "--runtime", "local")),
    ("first table", ("lossmeter", "run", "control", "-t", "celery", "--runtime", "local")),
    ("gate", ("lossmeter", "gate")),
    ("test", ("python", "-m", "pytest", "-q", "test_loss.py", "--lossmeter-runtime=local")),
)


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Go the whole way once on each Python that this machine has."""
    del rounds
    rows: list[Row] = []
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = built(place)
        for version in VERSIONS:
            python = _python(version)
            if python is None:
                goals.append(Goal(f"Python {version}: not on this machine", None, met=False))
                continue
            seconds = dict(_way(python, wheel, place / version, say))
            rows += [
                Row(f"Python {version}", step, round(took_s, 1), "s")
                for step, took_s in seconds.items()
            ]
            text = f"s from the command to the first table on Python {version}"
            goals.append(at_most(text, round(seconds["first table"], 1), TABLE_WITHIN_S))
    how = (
        "Once on each: the built wheel with pytest, and Celery as the application needs it, in "
        "an environment of their own; then each command in an empty folder with the "
        "application, its exit code 0. Servers in the cache."
    )
    return Report(NAME, "From an empty folder to a gate, on each Python", how, 1, rows, goals)


def _python(version: str) -> str | None:
    """Return an interpreter of a version: on the path, or of pyenv; None without one."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    own = sorted(kept.glob(f"{version}.*/bin/python"), reverse=True)
    for each in (shutil.which(f"python{version}"), *map(str, own)):
        # A shim of pyenv's is there for every version, and starts only the chosen one.
        if (
            each
            and subprocess.run([each, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return each
    return None


def _way(
    python: str, wheel: Path, folder: Path, say: Callable[[str], None]
) -> Iterator[tuple[str, float]]:
    """Take all steps; yield the name of each, and its seconds."""
    environment, project = folder / "environment", folder / "project"
    project.mkdir(parents=True)
    shutil.copy(TASKS, project)
    (project / "requirements.txt").write_text("celery[redis]\npsycopg\n", "utf-8")
    (project / "test_loss.py").write_text(SUITE, "utf-8")
    begin = time.monotonic()
    shipped = f"lossmeter[postgres,redis] @ {wheel.as_uri()}"
    install_into(environment, python, shipped, "pytest", "celery[redis]", "psycopg[binary]")
    yield "install", time.monotonic() - begin
    for step, words in STEPS:
        say(f"{python}: {step}")
        begin = time.monotonic()
        do([str(environment / "bin" / words[0]), *words[1:]], project, environment / "bin")
        yield step, time.monotonic() - begin
