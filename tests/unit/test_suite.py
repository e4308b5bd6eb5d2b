"""A test that fails beside others has a second look alone; what fails twice has failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.suite import MOST_AGAIN

ROOT = Path(__file__).parents[2]
ONCE = """
from pathlib import Path
def test_once():
    seen = Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
ALWAYS = "def test_always(): assert 0\n"
MANY = "import pytest\n@pytest.mark.parametrize('n', range({}))\ndef test_n(n): assert 0\n"


def _suite(folder: Path, text: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.suite", "-p", "no:cacheprovider", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("text", "code", "looks"),
    [
        (ONCE, 0, ("1 failed", "1 passed")),
        (ONCE + ALWAYS, 1, ("2 failed", "1 failed, 1 passed")),
        (MANY.format(MOST_AGAIN + 1), 1, (f"{MOST_AGAIN + 1} failed",)),
        ("import no_such_module\n", int(pytest.ExitCode.INTERRUPTED), ("1 error",)),
    ],
    ids=["passes-alone", "one-of-two", "many", "no-import"],
)
def test_what_failed_is_run_once_more(
    tmp_path: Path, text: str, code: int, looks: tuple[str, ...]
) -> None:
    ended, said = _suite(tmp_path, text)
    closing = [line for line in said.splitlines() if line.startswith("===") and " in " in line]
    assert ended == code, said
    assert [any(look in line for line in closing) for look in looks] == [True] * len(looks), said
    assert len(closing) == len(looks), said
