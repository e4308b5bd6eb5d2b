"""Inserts in batches: what is not committed is in hand, and one bad row fails alone."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest

from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.site import Killable
from tests.support.sites import Up, runtime_named, up_on

WITHIN_S = 60.0


def _send(up: Up, first: int, count: int, bad: int | None = None) -> None:
    events = [
        {"producer": 1, "sequence": n, "payload": "\0" if n == bad else "x"}
        for n in range(first, first + count)
    ]
    body = json.dumps(events).encode()
    with urllib.request.urlopen(f"{up.site.base_url}/events", body, timeout=30) as answer:
        assert answer.status == 202


def _rows(up: Up) -> tuple[int, int]:
    """Return how many events and how many rows are persisted."""
    url = up.site.endpoints["postgres"].direct["url"]
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(distinct sequence), count(*) from notice").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _wait_for(up: Up, events: int) -> tuple[int, int]:
    deadline = time.monotonic() + WITHIN_S
    while (found := _rows(up))[0] != events and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("name", ["redis-batch", "kafka-batch"])
def test_a_kill_loses_nothing_of_a_batch(name: str, tmp_path: Path) -> None:
    target = Catalogue.here().target(name)
    slow = {"DISPATCHER_HANDLER__TIME_S": "0.3"}
    with up_on(runtime_named("local"), tmp_path, target, **slow) as up:
        assert isinstance(up.site, Killable)
        _send(up, 0, 3000)
        deadline = time.monotonic() + WITHIN_S
        while not _rows(up)[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        up.site.kill()
        persisted = _rows(up)[0]
        assert 0 < persisted < 3000
        up.site.start()
        events, rows = _wait_for(up, 3000)
        assert events == 3000
        # What was in hand and committed, but not yet acknowledged, comes twice at most.
        assert rows - events <= 500


def test_one_bad_row_fails_alone(tmp_path: Path) -> None:
    target = Catalogue.here().target("redis-batch")
    with up_on(runtime_named("local"), tmp_path, target) as up:
        _send(up, 0, 300, bad=7)
        assert _wait_for(up, 299) == (299, 299)
