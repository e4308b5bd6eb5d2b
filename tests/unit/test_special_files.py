"""What is no file, in the place of one that is read: an error in a sentence, and never a wait."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lossmeter.commands.init import _ignore
from lossmeter.errors import UsageError
from lossmeter.report.capacity import every_capacity
from lossmeter.run.monitor.rules import read_yaml
from lossmeter.studies.durability import keep
from lossmeter.world.stores import store_options

NAME = "a.json"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        made.bind(path.name)


KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": _socket,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a file without end": lambda path: path.symlink_to("/dev/zero"),
}


def _sqlite(path: Path) -> None:
    table = {"kind": "sqlite", "file": str(path), "query": "select 1 as producer, 2 as sequence"}
    store_options("t", table).open(lambda text: text.replace("{run_folder}", "/")).check()


READERS: dict[str, Callable[[Path], object]] = {
    "recorded capacities": lambda path: every_capacity(path.parent),
    "recorded durabilities": lambda path: keep(path, []),
    "rules of Prometheus": read_yaml,
    "what git ignores": _ignore,
    "a database of SQLite": _sqlite,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_what_is_no_file(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / NAME
    KINDS[kind](path)
    with pytest.raises(UsageError, match=str(path)):
        READERS[reader](path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", ["-journal", "-wal"])
def test_no_fifo_beside_a_database_is_waited_for(tmp_path: Path, end: str) -> None:
    path = tmp_path / "kept.db"
    path.touch()
    _sqlite(path)
    os.mkfifo(f"{path}{end}")
    with pytest.raises(UsageError, match=f"kept.db{end} is a FIFO, not a regular file"):
        _sqlite(path)


def test_rules_nested_deep_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("[" * 20_000)
    with pytest.raises(UsageError, match="nested too deep"):
        read_yaml(path)
