"""What a target is given to keep secret is neither recorded nor shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rich.console import Console

from lossmeter import cli
from lossmeter.commands._streams import SafeConsole
from lossmeter.errors import CollectError, HarnessError, UsageError, redacted
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.record.facts import Facts
from lossmeter.run import story
from lossmeter.run.environment import save_environment
from lossmeter.world.queues import queue_options
from lossmeter.world.stores import store_options
from tests.support.typed import typed

SECRET = "s3cr3t-Wert"
VARIABLES = (
    *("DB_PASS", "API_KEY", "DATABASE_DSN", "db_pass", "apikey", "Pwd", "AUTH", "SALT"),
    *("DISPATCHER_KEYFILE", "PGPASSFILE", "LICENCE", "X"),
)


def test_only_names_that_are_known_to_be_harmless_are_recorded(project: Path) -> None:
    lines = "".join(f'{name} = "{SECRET}"\n' for name in VARIABLES)
    (project / "targets" / "mine.toml").write_text(
        f'extends = "channel"\nname = "mine"\n[start.environment]\n{lines}'
        f'URL_OF_IT = "amqp://user:{SECRET}@127.0.0.1/x"\nPORT = "{{port}}"\n'
        f'[servers.postgres]\nsynchronous_commit = "off"\nssl_passphrase_command = "{SECRET}"\n'
    )
    catalogue = Catalogue.here()
    cell = cells(catalogue, catalogue.experiment("control"), ["mine"], ["default"])[0]
    facts = Facts.model_validate(
        {
            "run_id": "r",
            "experiment": "e",
            "hypothesis": "h",
            "target": "t",
            "seed": 1,
            "ack_level": "enqueued",
            "runtime": "local",
            "events_planned": 1,
            "rate_per_s": 1.0,
            "exact": False,
        }
    )
    save_environment(project, facts, cell, {}, 0)
    text = (project / "environment.json").read_text()
    assert SECRET not in text
    recorded = json.loads(text)
    assert recorded["settings"]["DISPATCHER_WORKERS"] == "5"
    assert recorded["settings"]["PORT"] == "{port}"
    assert recorded["settings"]["DB_PASS"] == "(not recorded)"
    assert recorded["server_settings"]["postgres"]["synchronous_commit"] == "off"
    assert recorded["target"]["behaviour"]["workers"] == 5


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql+psycopg2://user:{SECRET}@127.0.0.1:5432/x is no such",
        f'missing "=" after "postgresql://user:{SECRET}@h/x" in connection info string',
        f"redis://:{SECRET}@127.0.0.1:6379/0",
        f"amqp://user:a@b/{SECRET}@h",
        f"http://user:{SECRET}@127.0.0.1:1 does not answer",
        f"host=127.0.0.1 password={SECRET} dbname=x",
        f"host=127.0.0.1 password = '{SECRET} and more' dbname=x",
        f"/events?api_key={SECRET}&x=1",
        f"https://h/x?X-Amz-Signature={SECRET}&sig={SECRET}",
        f"http://h/x#access_token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"got ['authorization: Basic {SECRET}']",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f"Cookie: a=b; session={SECRET}",
        f"X-Api-Key: {SECRET}",
        f'the answer was {{"password": "{SECRET}", "x": 1}}',
        f"{{'db_password': '{SECRET}'}}",
        f"tool --password {SECRET} --x 1 cannot be started",
        f"user:{SECRET}@tcp(127.0.0.1:3306)/x",
        f"//user:{SECRET}@h/x",
        f"user:{SECRET}@h does not answer",
        f"AccountKey={SECRET};EndpointSuffix=x",
    ],
)
def test_no_message_carries_a_password(text: str) -> None:
    for kind in (HarnessError, UsageError, CollectError):
        assert SECRET not in str(kind(text))
    assert SECRET not in redacted(text)


def test_what_is_no_password_stays() -> None:
    for text in (
        "http://127.0.0.1:8080/events answered 307, not 200",
        "max_lost = 3, recovery_s_max = 2",
        "tcp://127.0.0.1:1 and user@host",
        "image python:3.12@sha256:0123abcd",
        "http.headers.Authorization: the variable TOKEN is not set, or empty",
        "http.query.token: the variable X is not set, or empty",
        'password authentication failed for user "u"',
        "127.0.0.1:9 answered at 12:30",
        "http.headers: Authorization: its value may not hold a line break",
        "X-Api-Key: one of env and file is needed",
    ):
        assert redacted(text) == text


def test_no_text_of_a_target_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[2J\x1b]0;title\x07\x9b31mred\r\x08end"
    console = SafeConsole()
    assert isinstance(console, Console)
    console.print(hostile, markup=False, highlight=False)
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\r\x08")
    assert "end" in out
    assert "\x1b" not in str(HarnessError(hostile))


def test_no_traceback_carries_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError(f"connection to postgresql://user:{SECRET}@h/x was odd")

    with pytest.raises(ValueError, match="was odd") as raised:
        broken()
    assert SECRET not in story._defect(raised.value, tmp_path)
    kept = (tmp_path / "traceback.txt").read_text()
    assert "in broken" in kept
    assert SECRET not in kept
    monkeypatch.setattr(cli, "app", lambda **_: broken())
    done = typed(capsys, "gate")
    assert done.code == 3
    assert "in broken" in done.err
    assert SECRET not in done.err


@pytest.mark.parametrize("password", ["{}/b", "{}?b", "{}#b", "a@{}", "a:{}/b", "[{}", "{}]"])
def test_a_password_that_would_cut_its_url_short_is_refused_and_not_repeated(
    password: str,
) -> None:
    cut = f"u:{password.format(SECRET)}@127.0.0.1:1/x"
    whole = f"u:{quote(password.format(SECRET), safe='')}@127.0.0.1:1/x"
    query = {"query": "select 1 as producer, 1 as sequence"}
    asked: list[tuple[Callable[[str, dict[str, Any]], Any], str, dict[str, Any]]] = [
        (store_options, "database", {"kind": "postgres", "database": "postgresql://", **query}),
        (store_options, "url", {"kind": "mysql", "url": "mysql://", **query}),
        (store_options, "url", {"kind": "redis", "url": "redis://", "key": "k", "type": "list"}),
        (queue_options, "url", {"kind": "redis", "url": "rediss://", "keys": ["k"]}),
        (queue_options, "url", {"kind": "amqp", "url": "amqp://", "queues": ["q"]}),
        (queue_options, "url", {"kind": "sql", "url": "postgresql://", "query": "select 0"}),
        (queue_options, "url", {"kind": "http", "url": "http://", "pointer": "/n"}),
    ]
    for options, name, table in asked:
        options("t", {**table, name: table[name] + whole})
        with pytest.raises(UsageError, match=f"{name} is no URL: in a user or password") as raised:
            options("t", {**table, name: table[name] + cut})
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@h1:5432,h2:5433,[::1]:5434/x?sslmode=require&options=-c%20a=b@c",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://{postgres.host}:{postgres.port}/x",
        "postgresql://me:{postgres.password}@{postgres.address}/x",
    ],
)
def test_urls_as_postgresql_has_them_are_taken(url: str) -> None:
    store_options("t", {"kind": "postgres", "database": url, "query": "select 1"})
