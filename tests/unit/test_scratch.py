"""What a killed command was working in is found by ``recover``, and nothing else has a name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lossmeter
from lossmeter.world.runtimes._state import remove_dead
from lossmeter.world.scratch import KIND, scratch_folder

HARNESS = Path(lossmeter.__file__).parent
NAMED = {"TemporaryDirectory", "NamedTemporaryFile", "mkdtemp", "mkstemp"}
KILLED = """
import os, signal
from lossmeter.world.scratch import scratch_folder
with scratch_folder("packages") as folder:
    (folder / "archive").write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_killed_harness_leaves_a_folder_that_is_found(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    subprocess.run([sys.executable, "-P", "-c", KILLED], check=False, timeout=60)
    assert list(elsewhere.iterdir()) == []
    (left,) = cache.rglob("archive")
    with scratch_folder("check") as in_use:
        (line,) = remove_dead(KIND)
        assert in_use.is_dir(), "its owner runs"
    assert line.startswith("folder packages-")
    assert not left.exists()
    assert not in_use.exists()


def test_two_at_once_have_folders_of_their_own() -> None:
    with scratch_folder("image") as one, scratch_folder("image") as other:
        assert one != other
        assert {folder.stat().st_mode & 0o077 for folder in (one, other)} == {0}


def unfound(file: Path) -> Iterator[str]:
    """Yield what makes something with a name where nobody looks for it."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        placed = any(keyword.arg == "dir" for keyword in node.keywords)
        if node.func.attr in NAMED and not placed:
            yield f"{file.relative_to(HARNESS)}:{node.lineno} {node.func.attr}"


def test_nothing_with_a_name_is_made_among_the_temporary_files() -> None:
    assert [line for file in HARNESS.rglob("*.py") for line in unfound(file)] == []
