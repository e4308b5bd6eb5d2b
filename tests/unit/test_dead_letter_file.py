"""Dead letters in a file: what the dispatcher writes is what the auditor reads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from harness.collect import _read_pairs
from harness.errors import CollectError
from targets.dispatcher.dead_letters import DeadLetterFullError, FileDeadLetters
from targets.dispatcher.events import Accepted, Event


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
    assert _read_pairs(path).tolist() == [(3, 7), (3, 8)]
    assert json.loads(path.read_text().splitlines()[1])["reason"] == "away"


def test_what_is_kept_comes_back_whole_also_to_another_life(tmp_path: Path) -> None:
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
    assert _read_pairs(path).tolist() == []


@pytest.mark.parametrize(
    "line", ["not json", "[3, 7]", '{"producer": 3}', '{"producer": "x", "sequence": 1}', "null"]
)
def test_a_line_that_names_no_event_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "letters"
    path.write_text('{"producer": 1, "sequence": 2}\n' + line + "\n")
    with pytest.raises(CollectError, match=r"line 2 of .* is not a JSON object with producer"):
        _read_pairs(path)
