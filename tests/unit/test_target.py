from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lossmeter import errors
from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.http import Http
from lossmeter.plan.target import checked_url, load_target

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
        ("127.0.0.1:8080", "127.0.0.1:65536", "is not of the form http://127.0.0.1:PORT"),
        ("[attach]", "[attatch]", "attatch: Extra inputs are not permitted"),
        ("[attach]", '[start]\ncommand = ["x"]\n[attach]', "give exactly one of"),
        ("[attach]", 'services = ["postgres"]\n[attach]', "brings its own servers"),
        ("postgresql://me@127.0.0.1/mine", "mysql", "is neither one of services nor"),
        ("postgresql://me@", "postgresql+psycopg2://me:x@", "'postgresql+psycopg2://***@127"),
        ("[persisted]", '[http]\nbody = "{}"\n[persisted]', "does not carry $producer"),
        ("[persisted]", '[http]\nbody = "$x"\n[persisted]', "may use $producer"),
        (
            "[persisted]",
            "[http]\naccepted = [202]\nrefused = [202]\n[persisted]",
            "status 202 is listed both",
        ),
        ("[persisted]", "[http]\naccepted = [99]\n[persisted]", "http.accepted.0"),
        (
            "[persisted]",
            '[behaviour]\nwhen_full = "rate-limit"\n[persisted]',
            "behaviour: when_full = 'rate-limit' and rate_limit_per_s need each other",
        ),
        ("[persisted]", '[behaviour]\nwhen_full = "fall"\n[persisted]', "behaviour.when_full"),
        (
            "[persisted]",
            '[persisted]\ndead_letter_file = "../x"',
            "persisted.dead_letter_file: String should match",
        ),
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


BASE = (
    GOOD
    + """
[behaviour]
workers = 5
[settings]
workers = "WORKERS"
capacity = "CAPACITY"
"""
)
VARIANT = """
extends = "mine"
name = "more"
summary = "with more workers"
[behaviour]
workers = 30
[settings]
workers = ""
"""


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def test_a_variant_says_only_what_differs(tmp_path: Path) -> None:
    _write(tmp_path, mine=BASE, more=VARIANT)
    base, more = load_target(tmp_path / "mine.toml"), load_target(tmp_path / "more.toml")
    assert (more.name, more.behaviour.workers) == ("more", 30)
    assert more.persisted == base.persisted
    assert more.attach == base.attach
    assert base.settings == {"workers": "WORKERS", "capacity": "CAPACITY"}
    assert more.settings == {"capacity": "CAPACITY"}


def test_a_variant_of_a_variant_and_one_by_path(tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    _write(tmp_path / "shipped", mine=BASE, more=VARIANT)
    _write(tmp_path, ours='extends = "shipped/more.toml"\nname = "ours"\n')
    ours = load_target(tmp_path / "ours.toml")
    assert (ours.name, ours.summary, ours.behaviour.workers) == ("ours", "with more workers", 30)


def test_what_a_base_builds_is_found_beside_the_base(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    start = '[start]\ncommand = ["x"]\n[container]\nbuild = "folder"\n'
    attach = '[attach]\nurl = "http://127.0.0.1:8080"\n'
    _write(shipped, mine=GOOD.replace(attach, start))
    _write(tmp_path, ours='extends = "shipped/mine.toml"\n')
    container = load_target(tmp_path / "ours.toml").container
    assert container is not None
    assert container.build == shipped / "folder"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('extends = "mime"', "extends: target 'mime' does not exist; did you mean 'mine'?"),
        ("extends = 3", "extends is 3; right is the name of a target"),
        ('extends = ["mine"]', "extends is ['mine']; right is the name of a target"),
        ('extends = ""', "extends is ''; right is the name"),
        ('extends = "else/mine.toml"', "does not exist"),
        ('extends = "more"', "goes round in a circle: more.toml extends more.toml"),
        ('extends = "third"', "goes round in a circle: more.toml extends third.toml extends more"),
    ],
)
def test_what_cannot_be_extended_is_said(tmp_path: Path, line: str, said: str) -> None:
    _write(tmp_path, mine=BASE, third='extends = "more"\n')
    _write(tmp_path, more=VARIANT.replace('extends = "mine"', line))
    with pytest.raises(UsageError) as caught:
        load_target(tmp_path / "more.toml")
    message = str(caught.value)
    assert said in message
    assert ".toml: extends" in message
    assert "\n" not in message


def test_a_mistake_of_a_variant_is_said_with_its_file(tmp_path: Path) -> None:
    _write(tmp_path, mine=BASE, more=VARIANT.replace("workers = 30", "workers = 0"))
    with pytest.raises(UsageError, match=r"more\.toml: behaviour\.workers"):
        load_target(tmp_path / "more.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml does not exist"):
        load_target(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", Catalogue.here().target_names())
def test_shipped_targets_are_valid(name: str) -> None:
    target = Catalogue.here().target(name)
    assert target.name == name
    assert target.settings


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ({"method": "GET"}, "'POST', 'PUT' or 'PATCH'"),
        ({"base": "api"}, "pattern"),
        ({"base": "/api/"}, "pattern"),
        ({"events": "/a b"}, "pattern"),
        ({"headers": {"Bad name": "x"}}, "'Bad name' is no name of a header"),
        ({"headers": {"Content-Length": "1"}}, "Content-Length is written by the load itself"),
        ({"headers": {"A": "x\r\nB: y"}}, "A: the value has a line break"),
        ({"headers": {"A": {"env": "X", "file": "y"}}}, "exactly one of env"),
        ({"headers": {"A": {}}}, "exactly one of env"),
        ({"tls": {}}, "ca"),
    ],
)
def test_what_cannot_be_said_over_http_is_refused(http: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Http.model_validate(http)


def test_https_and_its_certificates_need_each_other(tmp_path: Path) -> None:
    attached = """
name = "there"
summary = "runs already"
ack_level = "enqueued"
[attach]
url = "https://127.0.0.1:1"
[persisted]
database = "postgresql://nobody@127.0.0.1/x"
query = "select 1"
"""
    (tmp_path / "there.toml").write_text(attached)
    with pytest.raises(UsageError, match=r"https and \[http\.tls\]"):
        load_target(tmp_path / "there.toml")
    (tmp_path / "there.toml").write_text(attached + '[http.tls]\nca = "ca.pem"\n')
    http = load_target(tmp_path / "there.toml").http
    assert http.tls is not None
    assert http.tls.ca == tmp_path.resolve() / "ca.pem"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[http]\ntimeout_s = true\n", "http.timeout_s: must be a number, and is true"),
        ('[http]\ntimeout_s = "5"\n', "http.timeout_s: must be a number, and is the text '5'"),
        ("[behaviour]\nworkers = true\n", "behaviour.workers: must be a number, and is true"),
        ("[persisted]\nquiet_s = true\n", "persisted.quiet_s: must be a number, and is true"),
        ('[container]\nport = "80"\n', "container.port: must be a number, and is the text '80'"),
    ],
)
def test_true_and_digits_in_quotes_are_no_numbers(tmp_path: Path, table: str, said: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'extends = "channel"\nname = "own"\n{table}')
    with pytest.raises(UsageError) as raised:
        Catalogue.here().target(str(file))
    assert said in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "db.example:8080", "127.0.0.1"])
@pytest.mark.parametrize("login", ["me:{}@", "{}@", "me:{}/b@", "me:a@{}@", "me:{}?b#c@", ":{}@"])
def test_a_login_in_the_url_of_a_dispatcher_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, host: str, login: str
) -> None:
    # Nothing of the message rests on finding a password in it.
    monkeypatch.setattr(errors, "redacted", str)
    for scheme in ("http://", "https:/", "http//", "", "ftp://"):
        with pytest.raises(UsageError, match=r"a login belongs in http\.headers") as raised:
            checked_url(f"{scheme}{login.format('s3cr3t')}{host}")
        assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:1/", "HTTP://LocalHost:1", "https://[::1]:65535"]
)
def test_an_address_of_this_machine_is_taken(url: str) -> None:
    assert checked_url(url) == url.rstrip("/")
