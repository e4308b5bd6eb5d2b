"""What counts as a whole number, wherever ids come from: rows, dead letters, brokers."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from lossmeter.errors import CollectError, UsageError
from lossmeter.record.whole import FOREIGN, signed, whole
from lossmeter.world.ownership import Owner
from lossmeter.world.queues import http
from lossmeter.world.queues._ids import Ids, ident
from lossmeter.world.stores._letters import read_letters

# Python's int() would take each of these for a number, that of an event that was sent.
ALIASES = ("1_0", "\u0661", "\u2003 1", "\uff11", "1\n")
ODD = (
    *("", "x", "1.0", "1e1", "0x1", "\u00b2", "9" * 30, "9" * 5000, True, None, [1], 1.5),
    *(float("nan"), float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("1E+400"), 10**400),
    *(2**63, -(2**63) - 1, b"\xff"),
)


@pytest.mark.parametrize("value", [*ALIASES, *ODD])
def test_what_is_no_whole_number_of_64_bits_is_no_id(value: object) -> None:
    assert whole(value) == FOREIGN
    assert ident(value, 0) == ident(0, value) == (FOREIGN, FOREIGN)


@pytest.mark.parametrize(
    "value",
    [
        *ALIASES,
        "\u00b2" * 19,
        "9" * 5000,
        "x" + "1" * 19,
        2**64,
        10**400,
        Decimal("sNaN"),
        "1" * 21,
    ],
)
def test_what_is_no_hash_is_none(value: object) -> None:
    assert signed(value) == FOREIGN


@pytest.mark.parametrize("value", [7, "7", " 7 ", "007", "+7", b"7", 7.0, Decimal("7.0")])
def test_a_number_is_the_same_in_whatever_it_comes(value: object) -> None:
    assert whole(value) == signed(value) == 7


@pytest.mark.parametrize("value", ALIASES)
def test_a_dead_letter_of_another_spelling_covers_no_event(tmp_path: Path, value: str) -> None:
    path = tmp_path / "letters"
    path.write_text(json.dumps({"producer": value, "sequence": 0}) + "\n")
    with pytest.raises(CollectError, match="is not a JSON object with producer and sequence"):
        read_letters(path)


@pytest.mark.parametrize(
    "producer", ["1.5", "1e1", "-1", '"1 apple"', '"1_0"', '"1', "\u0661", "null", "true", "[1]"]
)
def test_a_message_of_a_broker_with_another_id_is_nobodys(producer: str) -> None:
    message = f'{{"producer": {producer}, "sequence": 0}}'
    nobody = (FOREIGN, FOREIGN)
    assert Ids().of(message) == nobody
    assert Ids().of(f'{{"producer": 0, "sequence": {producer}}}') == nobody


def test_a_message_of_a_broker_gives_its_event() -> None:
    for text in ("7", '"7"', "7 ", '"007"'):
        message = f'{{"x": 1, "producer":{text}, "key": "k", "sequence": {text}}}'
        assert Ids().of(message) == (7, 7)
    own = Ids(pattern=r"(?P<producer>-?\d+)/(?P<sequence>-?\d+)")
    assert own.of(f"-{'9' * 30}/5") == (FOREIGN, FOREIGN)
    assert own.of("\u0661/5") == (FOREIGN, FOREIGN)


def test_a_page_nested_deep_is_no_list_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_page", lambda _: b"[" * 200_000)
    with pytest.raises(UsageError, match="names no number"):
        http.Length("http://127.0.0.1:9", "/x", None)()
    with pytest.raises(UsageError, match="names no list"):
        http.Listed("http://127.0.0.1:9", "/x")()


@pytest.mark.parametrize("pid", ["\u00b2", "\u0661", "9" * 5000, "9" * 300, "", "-1", "1_0", " 1"])
def test_no_mark_that_another_process_bears_harms_the_harness(pid: str) -> None:
    assert Owner.parse(f"run:{pid}:5:boot.1") is None
    assert Owner.parse(f"run:5:{pid}:boot.1") is None
