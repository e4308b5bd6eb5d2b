"""Streams and outputs that are unusual change no verdict and end in no traceback."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.attached import attached, run_attached, to_file
from tests.support.recorded_runs import plain_budgets, record

LOSSMETER = (sys.executable, "-m", "lossmeter.cli")
GATE = shlex.join([*LOSSMETER, "gate"])
STORE = '[persisted]\nkind = "jsonl"\nfile = "{}"\npayload = "payload"\n'


@pytest.fixture
def run(project: Path) -> Path:
    plain_budgets(project)
    return record(project, "20260101T000000Z-crash-1")


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | variables,
    )


@pytest.mark.parametrize(
    "redirected",
    [
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        "| true",
        "> /dev/full",
        "2> /dev/full",
    ],
)
def test_a_stream_that_takes_nothing_changes_no_verdict(run: Path, redirected: str) -> None:
    done = shell(f"{GATE} {run} {redirected}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_an_output_without_our_letters_changes_no_verdict(
    run: Path, variables: dict[str, str]
) -> None:
    done = shell(f"{GATE} {run}", **variables)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("redirected", "variables"),
    [
        (">&- 2>&-", {}),
        ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
    ids=["closed", "ascii"],
)
def test_no_stream_makes_a_run_that_passes_anything_else(
    project: Path, redirected: str, variables: dict[str, str]
) -> None:
    kept = project / "kept.jsonl"
    with attached(to_file(kept)) as dispatcher:
        ask = run_attached(project, dispatcher.port, STORE.format(kept))
        done = shell(f"{shlex.join([*LOSSMETER, *ask])} --json told.json {redirected}", **variables)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (result,) = json.loads((project / "told.json").read_text())
    assert (result["verdict"], result["counts"]["lost"]) == ("pass", 0)


def test_junit_goes_through_what_is_no_regular_file(run: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    done = shell(f"{GATE} {run} --junit {fifo}")
    reader.join(20)
    assert done.returncode == 0, done.stderr
    assert b"<testsuites" in read[0]
    assert stat.S_ISFIFO(fifo.stat().st_mode), "it is still there"
    assert shell(f"{GATE} {run} --junit /dev/null").returncode == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_junit_follows_a_link_and_keeps_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "real.xml").write_text("old")
    link = tmp_path / "link.xml"
    link.symlink_to("real.xml")
    done = shell(f"{GATE} {run} --junit {link}")
    assert done.returncode == 0, done.stderr
    assert link.is_symlink()
    assert "<testsuites" in (tmp_path / "real.xml").read_text()


@pytest.mark.parametrize("option", ["--json .", "--junit .", "--junit /proc/x.xml"])
def test_a_place_that_takes_no_file_is_wrong_usage(run: Path, option: str) -> None:
    done = shell(f"{GATE} {run} {option}")
    assert done.returncode == 4, (done.stdout, done.stderr)
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
