"""Servers that the harness did not start: one that began anew in mid-run makes a run doubtful."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.target import Persisted
from lossmeter.run import disturbance
from lossmeter.run.disturbance import ServersWatch, servers_watch
from lossmeter.world import beginnings
from lossmeter.world.auditor import auditor
from lossmeter.world.beginnings import Beginning
from lossmeter.world.stores import mysql


def doubts(*said: Beginning | None) -> list[str]:
    """Return what is noted of a server that says this before a run, and the rest after it."""
    facts: Any = SimpleNamespace(doubts=[])
    answers: Iterator[Beginning | None] = iter(said)
    watch = ServersWatch({"persisted": lambda: next(answers)}, facts)
    watch.look_at_last()
    found: list[str] = facts.doubts
    return found


def test_one_that_says_the_same_went_on() -> None:
    assert doubts("a", "a") == doubts(5.0, 6.1) == []


@pytest.mark.parametrize("said", [("a", "b"), (5.0, 17.5), ("a", None, None, "b")])
def test_one_that_says_something_else_began_anew(said: tuple[Beginning | None, ...]) -> None:
    assert doubts(*said) == [
        "the server of [persisted] began a new lifetime in mid-run, which no fault asked for"
    ]


def test_one_that_does_not_say_is_not_watched() -> None:
    assert doubts(None) == []


def test_one_that_says_nothing_any_more_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbance, "ANSWERS_WITHIN_S", 0.0)
    (doubt,) = doubts("a", None)
    assert "did not say at the end whether it began anew" in doubt


@pytest.mark.parametrize(("experiment", "watched"), [("crash", True), ("broker-down", False)])
def test_a_fault_that_strikes_servers_makes_it_the_runtimes_to_know(
    experiment: str, watched: bool
) -> None:
    catalogue = Catalogue.here()
    cell = cells(catalogue, catalogue.experiment(experiment), ["redis"], [])[0]
    facts: Any = SimpleNamespace(doubts=[])
    assert (servers_watch(cell, facts, None, None, None) is not None) == watched


def test_a_kind_of_store_that_has_no_server_says_nothing(tmp_path: Path) -> None:
    table = {"kind": "jsonl", "file": "kept.jsonl"}
    assert auditor("t", Persisted(**table), folder=tmp_path).began() is None


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:9", "http://nonsense"], ids=["away", "no address"]
)
def test_a_redis_that_does_not_answer_says_nothing(url: str) -> None:
    assert beginnings.of_redis(url) is None


def test_mysql_tells_whole_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    served_s = 100

    class Cursor:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def execute(self, _: str) -> None: ...

        def fetchone(self) -> tuple[str, str]:
            return "Uptime", str(served_s)

    connection = SimpleNamespace(cursor=Cursor, close=lambda: None)
    store = mysql.Options(query="select 1").open(lambda _: "mysql://x@127.0.0.1/x")
    monkeypatch.setattr(store, "connect", lambda: connection)
    first = store.began()
    assert first is not None
    assert first == pytest.approx(time.monotonic() - 100, abs=1)
    again = store.began()
    assert again is not None
    assert not beginnings.differ(first, again)
    served_s = 2
    anew = store.began()
    assert anew is not None
    assert beginnings.differ(first, anew)
