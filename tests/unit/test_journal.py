from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LoadError
from harness.load.journal import HEADER, RECORD, JournalWriter
from harness.load.reading import read_journals
from harness.model import Status


def _write(path: Path, events: int, *, outcomes: int, end: bool) -> None:
    with JournalWriter(path, 0, 8, 42, 1_000) as journal:
        for n in range(events):
            journal.intent(n % 8, n // 8, 1_000 + n, 2_000 + n, -n)
        for n in range(outcomes):
            journal.outcome(n % 8, n // 8, 3_000 + n, Status.ACKED, 202)
        if end:
            journal.end(9_000)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    _write(tmp_path / "journal-0.bin", 20, outcomes=19, end=True)
    journals = read_journals(tmp_path)
    assert journals.complete
    assert journals.start_ns == 1_000
    assert len(journals.intents) == 20
    assert len(journals.outcomes) == 19
    assert journals.intents["producer"].tolist() == [n % 8 for n in range(20)]
    assert journals.intents["payload_hash"].tolist() == [-n for n in range(20)]
    assert set(journals.outcomes["status"].tolist()) == {Status.ACKED}
    assert set(journals.outcomes["code"].tolist()) == {202}


def test_journals_of_several_load_processes_are_read_together(tmp_path: Path) -> None:
    _write(tmp_path / "journal-0.bin", 5, outcomes=5, end=True)
    _write(tmp_path / "journal-1.bin", 7, outcomes=7, end=False)
    journals = read_journals(tmp_path)
    assert len(journals.intents) == 12
    assert not journals.complete
    assert "journal-1.bin was not closed" in journals.why_incomplete


def test_no_journal_is_incomplete_not_empty(tmp_path: Path) -> None:
    journals = read_journals(tmp_path)
    assert not journals.complete
    assert journals.why_incomplete == "no journal was written"


@given(cut=st.integers(1, RECORD.size - 1))
def test_a_torn_last_record_is_dropped_and_named(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal-0.bin"
    _write(path, 3, outcomes=3, end=True)
    os.truncate(path, path.stat().st_size - cut)
    journals = read_journals(path.parent)
    assert len(journals.intents) == 3
    assert "in the middle of a record" in journals.why_incomplete


def test_a_missing_intent_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal-0.bin"
    _write(path, 3, outcomes=0, end=True)
    data = path.read_bytes()
    path.write_bytes(data[: HEADER.size] + data[HEADER.size + RECORD.size :])
    assert "says 3 intents and holds 2" in read_journals(tmp_path).why_incomplete


def test_another_file_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    (tmp_path / "journal-0.bin").write_bytes(b"x" * 200)
    with pytest.raises(LoadError, match="is not a journal"):
        read_journals(tmp_path)


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    _write(tmp_path / "journal-0.bin", 1, outcomes=0, end=True)
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path / "journal-0.bin", 0, 8, 42, 0)


def test_a_killed_writer_loses_no_intent(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from harness.load.journal import JournalWriter\n"
        "journal = JournalWriter(Path(sys.argv[1]), 0, 1, 1, 0)\n"
        "for n in range(1000): journal.intent(0, n, 0, n, 0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "journal-0.bin")], check=False
    )
    assert done.returncode == -signal.SIGKILL
    journals = read_journals(tmp_path)
    assert len(journals.intents) == 1000
    assert not journals.complete
