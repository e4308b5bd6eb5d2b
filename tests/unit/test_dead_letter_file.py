"""Dead letters in a file: what the dispatcher writes is what the auditor reads."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from lossmeter.errors import CollectError, UsageError
from lossmeter.load.process import events_sent
from lossmeter.load.replay import from_file
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.files import append
from lossmeter.world.stores._letters import read_letters
from lossmeter_dispatcher.dead_letters import DeadLetterFullError, FileDeadLetters
from lossmeter_dispatcher.events import Accepted, Event
from tests.support.attached import attached


def _item(sequence: int) -> Accepted:
    return Accepted(Event(producer=3, sequence=sequence, key="k", payload='a "p"\n'), 1.5)


def test_the_auditor_reads_what_the_dispatcher_keeps(tmp_path: Path) -> None:
    path = tmp_path / "dead-letters.jsonl"

    async def keep() -> None:
        letters = FileDeadLetters(path, 2)
        await letters.add(_item(7), "refused")
        await letters.add(_item(8), "away")
        with pytest.raises(DeadLetterFullError):
            await letters.add(_item(9), "away")

    asyncio.run(keep())
    assert read_letters(path).tolist() == [(3, 7), (3, 8)]
    assert json.loads(path.read_text().splitlines()[1])["reason"] == "away"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("{}\n")
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to("real")
    os.mkfifo(fifo)
    for path, kind in ((link, "a link"), (fifo, "a FIFO")):
        with pytest.raises(CollectError, match=f"cannot be read: it is {kind}, not a regular"):
            read_letters(path)
        with pytest.raises(UsageError, match=f"cannot be read: is {kind}, not a regular file"):
            from_file("http://127.0.0.1:9", Catalogue.here().target("channel"), path)
    with pytest.raises(OSError, match="is a FIFO, not a regular file"):
        append(fifo, b"a letter that was not accepted")
    for name in ("journal-0.bin", "journal-1.bin"):
        os.mkfifo(tmp_path / name)
    assert events_sent(tmp_path) == 0


def test_what_is_kept_comes_back_whole_also_in_another_lifetime(tmp_path: Path) -> None:
    path = tmp_path / "dead-letters.jsonl"

    async def keep_and_take() -> None:
        await FileDeadLetters(path, 10).add(_item(7), "refused")
        again = FileDeadLetters(path, 10)
        assert await again.count() == 1
        letter = await again.oldest()
        assert letter is not None
        assert letter.item == _item(7)
        await again.remove(letter)
        assert await again.count() == 0

    asyncio.run(keep_and_take())
    assert read_letters(path).tolist() == []


@pytest.mark.parametrize(
    "line", ["not json", "[3, 7]", '{"producer": 3}', '{"producer": "x", "sequence": 1}', "null"]
)
def test_a_line_that_names_no_event_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "letters"
    path.write_text('{"producer": 1, "sequence": 2}\n' + line + "\n")
    with pytest.raises(CollectError, match=r"line 2 of .* is not a JSON object with producer"):
        read_letters(path)


@pytest.mark.parametrize("between", ["\n", "\n\n", "\r\n \r\n\t\n"])
def test_blank_lines_among_letters_are_none(tmp_path: Path, between: str) -> None:
    path = tmp_path / "letters"
    lines = [f'{{"producer": 1, "sequence": {n}, "payload": "x"}}' for n in range(3)]
    path.write_text(between + between.join(lines) + between, newline="")
    assert read_letters(path).tolist() == [(1, 0), (1, 1), (1, 2)]
    kept: list[bytes] = []
    with attached(kept.append) as dispatcher:
        replayed = from_file(
            f"http://127.0.0.1:{dispatcher.port}", Catalogue.here().target("channel"), path
        )
    assert (replayed.accepted, replayed.kept) == (3, 0)
    assert [json.loads(body)["sequence"] for body in kept] == [0, 1, 2]


@pytest.mark.parametrize(
    "number",
    ["4294967299", "-3", "3.5", "1e400", "NaN", "1" * 5000, f'"{"1" * 5000}"', str(2**63), "3e30"],
)
def test_an_id_that_nobody_mints_stays_one(tmp_path: Path, number: str) -> None:
    path = tmp_path / "letters"
    path.write_text(
        f'{{"producer": {number}, "sequence": 2}}\n\n{{"producer": "3", "sequence": 2.0}}\n'
    )
    foreign, known = read_letters(path).tolist()
    assert known == (3, 2)
    assert foreign[0] in {4294967299, -3, -1}
