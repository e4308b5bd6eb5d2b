"""Stores that need no server: files and programs; and options that no store takes."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from lossmeter.errors import CollectError, UsageError
from lossmeter.record.arrays import UNDATED
from lossmeter.record.payloads import payload_hash
from lossmeter.record.whole import signed
from lossmeter.world.stores import _values, command, store_options
from tests.support.store_kinds import collected, events, ids
from tests.support.stores import Command, Jsonl, Sqlite

SOME = "(?P<producer>.)(?P<sequence>.)"


def test_a_database_that_is_being_written_is_read(tmp_path: Path) -> None:
    written = Sqlite(tmp_path)
    written.write(events(9))
    auditor = written.auditor()
    assert auditor.count() == 9
    with sqlite3.connect(tmp_path / "kept.db", isolation_level=None) as writer:
        writer.execute("begin immediate")
        writer.execute("insert into kept (producer, sequence) values (9, 9)")
        assert auditor.count() == 9
        assert len(collected(auditor).rows) == 9
        writer.execute("commit")
    writer.close()
    assert auditor.count() == 10


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("producer json, sequence int, at", "'producer' as json; it must be a whole number"),
        ("producer, sequence datetime, at", "'sequence' as datetime; it must be a whole number"),
        ("producer, sequence, at boolean", "'persisted_at' as boolean; it must be a date with its"),
        ("producer text, sequence int, at datetime", ""),
        ("producer, sequence, at", ""),
    ],
)
def test_a_column_that_was_declared_as_something_else_is_refused(
    tmp_path: Path, declared: str, said: str
) -> None:
    with sqlite3.connect(tmp_path / "kept.db") as connection:
        connection.execute("drop table if exists kept")
        connection.execute(f"create table kept ({declared})")
    connection.close()
    query = "with k as (select * from kept) select producer, sequence, at as persisted_at from k"
    asked = Sqlite.__new__(Sqlite)
    asked.folder, asked.names = tmp_path, {}
    auditor = asked.auditor(query=query)
    if not said:
        assert auditor.check().persisted_at
        return
    with pytest.raises(UsageError, match=f"persisted.query returns {said}"):
        auditor.check()


def test_a_query_of_sqlite_may_end_in_a_comment(tmp_path: Path) -> None:
    written = Sqlite(tmp_path)
    written.write(events(3))
    ids_of = "select producer, sequence from kept where producer = {} -- all of them"
    auditor = written.auditor(
        query="select producer, sequence from kept; -- all",
        dead_letter_query=ids_of.format(1),
        pending_query=ids_of.format(2),
    )
    auditor.check()
    assert auditor.count() == 3
    found = collected(auditor)
    assert [len(a) for a in (found.rows, found.dead_lettered, found.pending)] == [3, 1, 1]


def test_a_line_that_a_kill_cut_short_was_not_kept(tmp_path: Path) -> None:
    written = Jsonl(tmp_path)
    written.write(events(3))
    with (tmp_path / "kept.jsonl").open("a") as file:
        file.write('{"producer": 0, "sequence": 1, "payload')
    auditor = written.auditor()
    assert auditor.count() == len(collected(auditor).rows) == 3
    (tmp_path / "kept.jsonl").write_text("")
    written.write(events(1))
    assert auditor.count() == 1, "a file that was begun anew is counted anew"


@pytest.mark.parametrize(
    ("stored", "seconds"),
    [
        ("2026-11-29 15:00:00", 1795964400),
        ("2026-11-29T16:00:00.5+01:00", 1795964400.5),
        (1795964400, 1795964400),
        (1795964400.25, 1795964400.25),
        ("1795964400", 1795964400),
        ("yesterday", None),
        (None, None),
        (-5, None),
        (1e300, None),
    ],
)
def test_times_are_read_or_are_none(stored: object, seconds: float | None) -> None:
    wanted = UNDATED if seconds is None else int(seconds * 100) * 10**7
    assert _values.nanoseconds(stored) == wanted


def test_a_hash_without_a_sign_is_the_same_hash() -> None:
    for value in (-5, 2**64 - 5, str(2**64 - 5), b"18446744073709551611", "-5"):
        assert signed(value) == -5
    assert signed(str(-(2**63))) == -(2**63)


def test_a_program_may_print_csv(tmp_path: Path) -> None:
    written = Command(tmp_path)
    table = written.table() | {"format": "csv", "producer": "from"}
    (tmp_path / "printed").write_text('from,sequence,payload\n3,4,"a,b"\n3,5,c\n')
    auditor = written.opened(table)
    auditor.check()
    rows = collected(auditor).rows
    assert ids(rows) == [(3, 4), (3, 5)]
    assert rows["payload_hash"].tolist() == [payload_hash("a,b"), payload_hash("c")]
    with pytest.raises(UsageError, match="must print the column 'producer'; it prints from, seq"):
        written.opened(table | {"producer": "producer"}).check()


def test_what_is_no_csv_is_told_and_a_long_field_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Command(tmp_path)
    table = written.table() | {"format": "csv"}
    long = "x" * 200_000
    (tmp_path / "printed").write_text(f"producer,sequence,payload\n3,4,{long}\n")
    assert collected(written.opened(table)).rows["payload_hash"].tolist() == [payload_hash(long)]
    monkeypatch.setattr(command, "_LONGEST_FIELD", 1000)
    with pytest.raises(CollectError, match="what it prints is no CSV: field larger than"):
        collected(written.opened(table))
    csv.field_size_limit(len(long))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"command": ["{python}", "-c", "import time; time.sleep(9)"]}, "did not end within 0.5 s"),
        ({"command": ["{python}", "-c", "raise SystemExit('no table')"]}, "exit code 1: no table"),
        ({"command": ["{python}", "-c", "print(1)"], "folder": "/nowhere"}, "cannot be started"),
    ],
)
def test_a_program_that_fails_is_told(tmp_path: Path, table: dict[str, Any], said: str) -> None:
    written = Command(tmp_path)
    with pytest.raises(UsageError) as caught:
        written.opened(written.table() | {"within_s": 0.5} | table).check()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "paper"}, "persisted 'paper' does not exist; known are "),
        ({"kind": "postgres", "querry": "select 1"}, "persisted.query: Field required"),
        ({"kind": "sqlite", "query": "select 1"}, "persisted.file: Field required"),
        ({"kind": "jsonl", "file": "f", "pattern": "("}, "is no regular expression"),
        ({"kind": "jsonl", "file": "f", "pattern": r"(\d+)"}, "has no group (?P<producer>…)"),
        ({"kind": "jsonl", "file": "f", "query": "q"}, "persisted.query: Extra inputs"),
        ({"kind": "command", "command": ["no-such-program"]}, "there is no program"),
        (
            {"kind": "command", "command": ["cat"], "format": "csv", "pattern": SOME},
            "leave out pattern",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match="target t: ") as caught:
        store_options("t", table)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
