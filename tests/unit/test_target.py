from __future__ import annotations

from pathlib import Path

import pytest

from harness.catalogue import Catalogue
from harness.errors import UsageError
from harness.target import load_target

GOOD = """
name = "mine"
summary = "a dispatcher of my own"
ack_level = "enqueued"
[attach]
url = "http://127.0.0.1:8080"
[persisted]
database = "postgresql://me@127.0.0.1/mine"
query = "select producer, sequence from events"
"""


def _load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    load_target(path)


def test_a_target_of_ones_own_needs_no_more_than_this(tmp_path: Path) -> None:
    _load(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name = ", "name == ", "is not valid TOML"),
        ('"enqueued"', '"certainly"', "ack_level: Input should be 'enqueued', 'broker'"),
        ("127.0.0.1:8080", "example.com:8080", "is not on this machine's loopback"),
        ("http://127.0.0.1:8080", "127.0.0.1", "is not of the form http://127.0.0.1:PORT"),
        ("[attach]", "[attatch]", "attatch: Extra inputs are not permitted"),
        ("[attach]", '[start]\ncommand = ["x"]\n[attach]', "give exactly one of"),
        ("[attach]", 'services = ["postgres"]\n[attach]', "brings its own servers"),
        ("postgresql://me@127.0.0.1/mine", "mysql", "is neither one of services nor"),
        ("[persisted]", '[http]\nbody = "{}"\n[persisted]', "does not carry $producer"),
        ("[persisted]", '[http]\nbody = "$x"\n[persisted]', "may use $producer"),
        (
            "[persisted]",
            "[http]\naccepted = [202]\nrefused = [202]\n[persisted]",
            "status 202 is listed both",
        ),
        ("[persisted]", "[http]\naccepted = [99]\n[persisted]", "http.accepted.0"),
        ("query =", "querry =", "persisted.query: Field required"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        _load(tmp_path, GOOD.replace(old, new))
    message = str(caught.value)
    assert said in message
    assert "mine.toml" in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml does not exist"):
        load_target(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", Catalogue.here().target_names())
def test_shipped_targets_are_valid(name: str) -> None:
    target = Catalogue.here().target(name)
    assert target.name == name
    assert target.settings
