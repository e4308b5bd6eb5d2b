from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.errors import LoadError
from lossmeter.load import journal as journal_module
from lossmeter.load.journal import JournalWriter
from lossmeter.model import Status
from lossmeter.record.journal_format import HEADER, RECORD, RECORDS_AT
from lossmeter.record.journals import JournalTail, acked_between, read_journals
from lossmeter.record.tally import Tally


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


def test_what_was_acked_in_a_stretch_of_time_is_counted(tmp_path: Path) -> None:
    _write(tmp_path / "journal-0.bin", 20, outcomes=19, end=True)
    assert acked_between(tmp_path, 3_004, 3_010) == 6
    assert acked_between(tmp_path, 3_018, 9_000) == 0
    assert acked_between(tmp_path / "none", 0, 9_000) == 0


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
        "from lossmeter.load.journal import JournalWriter\n"
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


@st.composite
def _records(draw: st.DrawFn) -> list[tuple[bool, int, int, int, int, int]]:
    """Return whether it is an intent, and its fields, anywhere in their range."""
    big, small = st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**32 - 1)
    record = st.tuples(st.booleans(), small, st.integers(0, 2**64 - 1), big, big, big)
    return draw(st.lists(record, max_size=300))


@given(records=_records(), ended=st.booleans())
def test_any_history_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[bool, int, int, int, int, int]],
    ended: bool,
) -> None:
    folder = tmp_path_factory.mktemp("history")
    tail, tally = JournalTail(folder), Tally(folder)
    reported = []
    with pytest.MonkeyPatch.context() as patch:
        # Records cross the edges of windows, as they do every hundred thousand otherwise.
        patch.setattr(journal_module, "_WINDOW", 4096)
        with JournalWriter(folder / "journal-0.bin", 0, 8, 42, 7) as writer:
            for place, (is_intent, producer, sequence, one, two, three) in enumerate(records):
                if is_intent:
                    writer.intent(producer, sequence, one, two, three)
                else:
                    writer.outcome(producer, sequence, one, Status.ACKED, place % 999)
                if place % 7 == 0:
                    reported += list(tail.new())
            if ended:
                writer.end(9)
    reported += list(tail.new())
    tally.look()
    tail.close()
    journals = read_journals(folder)
    intents = [tuple(record[1:]) for record in records if record[0]]
    outcomes = [
        (record[1], record[2], record[3], int(Status.ACKED), place % 999)
        for place, record in enumerate(records)
        if not record[0]
    ]
    names = ("producer", "sequence", "scheduled_ns", "sent_ns", "payload_hash")
    assert [tuple(each[n].item() for n in names) for each in journals.intents] == intents
    names = ("producer", "sequence", "done_ns", "status", "code")
    assert [tuple(each[n].item() for n in names) for each in journals.outcomes] == outcomes
    assert journals.complete == ended
    assert [ident for ident, _ in reported] == [(each[0], each[1]) for each in outcomes]
    assert (tally.sent, tally.acked) == (len(intents), len(outcomes))


@pytest.mark.parametrize("after_s", [0.05, 0.1, 0.15, 0.2])
def test_whenever_a_writer_is_killed_each_record_is_whole(tmp_path: Path, after_s: float) -> None:
    path = tmp_path / "journal-0.bin"
    script = (
        "import sys; from pathlib import Path\n"
        "from lossmeter.load.journal import JournalWriter\n"
        "journal = JournalWriter(Path(sys.argv[1]), 0, 1, 1, 0)\n"
        "n = 0\n"
        "while True:\n"
        "    journal.intent(n % 7, n, n + 1, n + 2, n + 3)\n"
        "    journal.outcome(n % 7, n, n + 4, 0, n % 600)\n"
        "    n += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)]) as writer:
        deadline = time.monotonic() + 10
        while not (path.exists() and path.stat().st_size > 4096):
            assert time.monotonic() < deadline
        time.sleep(after_s)
        writer.kill()
    journals = read_journals(tmp_path)
    assert "was not closed" in journals.why_incomplete
    count = len(journals.intents)
    assert count > 1000
    assert len(journals.outcomes) in {count, count - 1}
    for name, plus in (("sequence", 0), ("scheduled_ns", 1), ("sent_ns", 2), ("payload_hash", 3)):
        assert (journals.intents[name] == np.arange(count) + plus).all()
    assert (journals.outcomes["done_ns"] == np.arange(len(journals.outcomes)) + 4).all()


def test_what_a_killed_writer_left_half_done_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal-0.bin"
    _write(path, 3, outcomes=0, end=False)
    data = bytearray(path.read_bytes())
    at = HEADER.size + 3 * RECORD.size
    data[at : at + 20] = b"x" * 20
    path.write_bytes(data)
    journals = read_journals(tmp_path)
    assert len(journals.intents) == 3
    assert "was not closed" in journals.why_incomplete


def test_a_hole_among_the_records_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal-0.bin"
    _write(path, 3, outcomes=3, end=True)
    data = bytearray(path.read_bytes())
    at = HEADER.size + 4 * RECORD.size
    data[at : at + RECORD.size] = bytes(RECORD.size)
    path.write_bytes(data)
    assert "holds a torn record" in read_journals(tmp_path).why_incomplete


@pytest.mark.parametrize("said", [5, 8])
def test_a_header_that_does_not_say_what_is_there_is_noticed(tmp_path: Path, said: int) -> None:
    path = tmp_path / "journal-0.bin"
    _write(path, 3, outcomes=3, end=True)
    data = bytearray(path.read_bytes())
    data[RECORDS_AT : RECORDS_AT + 8] = struct.pack("<q", said)
    path.write_bytes(data)
    assert not read_journals(tmp_path).complete


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_load_process_that_left_no_journal_is_named(tmp_path: Path, missing: int) -> None:
    for shard in {0, 1, 2} - {missing}:
        with JournalWriter(tmp_path / f"journal-{shard}.bin", shard, 8, 1, 0, 3) as journal:
            journal.end(9)
    journals = read_journals(tmp_path)
    assert not journals.complete
    assert f"journal-{missing}.bin is missing: 1 of 3" in journals.why_incomplete


def test_a_disk_without_room_is_an_error_and_no_signal(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from lossmeter.load.journal import JournalWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, 6 << 20))\n"
        "journal = JournalWriter(Path(sys.argv[1]), 0, 1, 1, 0)\n"
        "for n in range(1_000_000): journal.intent(0, n, 0, n, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "journal-0.bin")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "OSError" in done.stderr
    # What was written before is there.
    assert len(read_journals(tmp_path).intents) > 100_000


def test_memory_does_not_grow_with_the_journal(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from lossmeter.load.journal import JournalWriter\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "journal = JournalWriter(Path(sys.argv[1]), 0, 1, 1, 0)\n"
        "for n in range(200_000): journal.intent(0, n, 0, n, 0)\n"
        "before = peak()\n"
        "for n in range(1_000_000): journal.intent(0, n, 0, n, 0)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "journal-0.bin")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1024, "KiB more for 40 MB of records"
