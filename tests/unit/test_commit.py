"""Which code made a run or a table."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lossmeter.run.environment import commit, commit_of, made_with


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    command = ("git", "-C", str(folder), *who, *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_clone_is_at_a_commit_with_changes_or_without(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    # A name of a version is no commit.
    git(tmp_path, "tag", "-am", "v1", "v1")
    full = git(tmp_path, "rev-parse", "HEAD")
    assert commit_of(tmp_path) == full[:12]
    commit_of.cache_clear()
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{full[:12]} with changes"


def test_what_is_in_no_clone_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None


def test_tables_say_what_they_were_made_with() -> None:
    said = made_with()
    assert said.startswith("lossmeter ")
    assert "cores " in said
    assert (commit() or "cpu") in said
