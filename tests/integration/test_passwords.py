"""A password in a URL of a target's file: nowhere in what a run leaves, shows or says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from tests.support.attached import attached, run_attached
from tests.support.places import Place
from tests.support.program import Done, lossmeter
from tests.support.servers import redis_url

SECRET = "s3cr3t/W@rt:1"
WAYS = (SECRET, quote(SECRET, safe=""), "s3cr3t")
STORE = """
[persisted]
kind = "redis"
url = "{url}"
key = "events"
type = "list"
payload = "payload"
[queue]
kind = "redis"
url = "{url}"
keys = ["waiting"]
"""
COMMANDS = (
    ("report",),
    ("gate", "--junit", "junit.xml", "--json", "gate.json"),
    ("explain",),
    ("compare",),
)


@contextmanager
def account(url: str, address: str, password: str) -> Iterator[tuple[redis.Redis, str]]:
    """Give a client of an account with the password, and the URL that a team would write."""
    with redis.Redis.from_url(url) as admin:
        admin.acl_setuser(
            "team", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all"]
        )
        try:
            with redis.Redis.from_url(url) as client:
                client.flushdb()
                yield client, f"redis://team:{quote(password, safe='')}@{address}/0"
                client.flushdb()
        finally:
            admin.acl_deluser("team")


def check_nowhere(project: Path, *said: Done) -> None:
    """Look for the password in all that was written and said, but in the team's own file."""
    for done in said:
        assert not [way for way in WAYS if way in done.out + done.err]
    files = [path for path in project.rglob("*") if path.is_file()]
    assert len([path for path in files if "runs" in path.parts]) > 5
    for path in files:
        if path.name != "attached.toml":
            content = path.read_bytes()
            assert not [way for way in WAYS if way.encode() in content], path


def test_a_password_of_a_store_is_in_nothing_that_a_run_leaves(project: Path, place: Place) -> None:
    server = place("redis")
    with account(redis_url(server), server.address, SECRET) as (client, url):
        with attached(lambda body: client.rpush("events", body)) as dispatcher:
            ask = run_attached(project, dispatcher.port, STORE.format(url=url))
            made = lossmeter(*ask, "--json", "results.json")
        assert made.code == 0, made.out + made.err
        (folder,) = (project / "results" / "runs").iterdir()
        shown = [lossmeter(command, str(folder), *more) for command, *more in COMMANDS]
    assert [done.code for done in shown[:2]] == [0, 0]
    assert (folder / "report.html").is_file()
    assert (project / "junit.xml").is_file()
    check_nowhere(project, made, *shown)


@pytest.mark.parametrize("password", [f"{SECRET}-wrong", SECRET], ids=["wrong", "in mid-run"])
def test_nor_in_what_is_said_of_a_store_that_cannot_be_read(
    project: Path, place: Place, password: str
) -> None:
    server = place("redis")
    with account(redis_url(server), server.address, password) as (client, url):

        def keep(body: bytes) -> None:
            client.rpush("events", body)
            client.acl_setuser("team", enabled=False)
            client.client_kill_filter(user="team")

        with attached(keep) as dispatcher:
            ask = run_attached(project, dispatcher.port, STORE.format(url=url))
            made = lossmeter(*ask, "--json", "results.json")
        assert made.code == (3 if password == SECRET else 4), made.out + made.err
    assert "Traceback" not in made.err
    for way in WAYS:
        assert way not in made.out + made.err
    if password == SECRET:
        check_nowhere(project, made)
