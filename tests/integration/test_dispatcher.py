"""The reference dispatcher as a process, over HTTP, with a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.dispatchers import Dispatcher, Start, an_event, rows_of
from tests.support.program import until


def test_an_event_and_an_array_are_queued_and_persisted(
    start: Start, notices: psycopg.Connection[tuple[Any, ...]]
) -> None:
    dispatcher = start()
    assert dispatcher.post(an_event(0))[0] == 202
    assert dispatcher.post([an_event(1), an_event(2)])[:2] == (202, {"queued": 2})
    until(lambda: sorted(rows_of(notices)) == [0, 1, 2], 5)
    assert dispatcher.state()["counts"]["persisted"] == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"not json", "Invalid JSON"),
        ({"producer": 0}, "sequence: Field required"),
        ({"producer": -1, "sequence": 0}, "producer"),
        ([{"producer": 0, "sequence": 0}, {"producer": "x", "sequence": 0}], "1.producer"),
    ],
)
def test_invalid_events_are_refused_with_one_sentence(
    start: Start, body: object, said: str
) -> None:
    dispatcher = start()
    status, answer, _ = dispatcher.post(body)
    assert status == 422
    assert said in answer["error"]
    assert dispatcher.state()["counts"]["accepted"] == 0


def test_a_full_queue_blocks_then_refuses(start: Start) -> None:
    dispatcher = start(
        QUEUE__CAPACITY="2", WORKERS="1", HANDLER__TIME_S="30", PUSH__TIMEOUT_S="0.5"
    )
    for n in range(3):
        assert dispatcher.post(an_event(n))[0] == 202
    begin = time.monotonic()
    status, answer, _ = dispatcher.post(an_event(3))
    assert (status, answer["error"]) == (503, "queue is full")
    assert 0.4 <= time.monotonic() - begin < 2
    state = dispatcher.state()
    assert (state["queue_length"], state["in_flight"]) == (2, 1)
    assert state["counts"]["dropped"] == 1
    status, answer, _ = dispatcher.post([an_event(4), an_event(5)])
    assert (status, answer["error"]) == (503, "queue is full")


def test_a_full_queue_can_reject_at_once(start: Start) -> None:
    dispatcher = start(
        QUEUE__CAPACITY="1", WORKERS="1", HANDLER__TIME_S="30", PUSH__WHEN_FULL="reject"
    )
    for n in range(2):
        assert dispatcher.post(an_event(n))[0] == 202
    begin = time.monotonic()
    assert dispatcher.post(an_event(2))[0] == 503
    assert time.monotonic() - begin < 1


def test_a_full_queue_can_degrade_to_a_synchronous_write(
    start: Start, notices: psycopg.Connection[tuple[Any, ...]]
) -> None:
    dispatcher = start(
        QUEUE__CAPACITY="1", WORKERS="1", HANDLER__TIME_S="0.8", PUSH__WHEN_FULL="write-through"
    )
    for n in range(2):
        assert dispatcher.post(an_event(n))[0] == 202
    assert dispatcher.post(an_event(2))[0] == 202
    assert 2 in rows_of(notices)


def test_a_rate_limit_says_when_to_come_again(start: Start) -> None:
    dispatcher = start(PUSH__WHEN_FULL="rate-limit", PUSH__RATE_PER_S="2")
    answers = [dispatcher.post(an_event(n)) for n in range(4)]
    assert [status for status, _, _ in answers][:2] == [202, 202]
    status, answer, headers = answers[3]
    assert (status, answer["error"]) == (429, "rate limit exceeded")
    assert int(headers["retry-after"]) >= 1


def test_every_metric_of_the_analysis_is_exposed(start: Start) -> None:
    dispatcher = start(QUEUE__CAPACITY="200")
    dispatcher.post(an_event(0))
    until(lambda: dispatcher.state()["counts"]["persisted"] == 1, 5)
    page = dispatcher.get("/metrics")[1]
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
    assert float(lines["queue_length"]) == 0
    assert float(lines["queue_capacity"]) == 200
    assert float(lines["queue_usage_percent"]) == 0
    assert float(lines["message_failure_rate"]) == 0
    assert float(lines["message_drop_rate"]) == 0
    assert float(lines["message_process_latency_count"]) == 1
    assert 0.05 <= float(lines["message_process_latency_sum"]) < 2


def test_the_state_names_this_lifetime(start: Start) -> None:
    dispatcher = start()
    state = dispatcher.state()
    assert state["pid"] == dispatcher.popen.pid
    assert abs(state["started_at_ns"] / 1e9 - time.time()) < 30
    assert len(state["boot_id"]) == 32
    assert state["accepting"] is True
    assert start().state()["boot_id"] != state["boot_id"]


REFUSE = """
create function refuse() returns trigger language plpgsql as
$$ begin raise exception 'refused'; end $$;
create trigger refuse before insert on notice for each row execute function refuse();
"""


@pytest.fixture
def refuse(notices: psycopg.Connection[tuple[Any, ...]]) -> Iterator[Callable[[], None]]:
    """Make every insert fail, from the call on; the end of the test undoes it."""
    notices.execute("drop function if exists refuse cascade")
    yield lambda: notices.execute(REFUSE) and None
    notices.execute("drop function if exists refuse cascade")


def test_today_a_failed_event_is_logged_and_forgotten(
    start: Start, refuse: Callable[[], None], tmp_path: Path
) -> None:
    dispatcher = start()
    refuse()
    assert dispatcher.post(an_event(7))[0] == 202
    until(lambda: dispatcher.state()["counts"]["failed"] == 1, 5)
    assert dispatcher.state()["queue_length"] == 0
    assert "event 0-7 failed: refused" in (tmp_path / "dispatcher.log").read_text()


@pytest.mark.parametrize("blocking", ["true", "false"])
def test_a_retry_saves_the_event_when_the_database_is_back(
    start: Start,
    refuse: Callable[[], None],
    notices: psycopg.Connection[tuple[Any, ...]],
    blocking: str,
) -> None:
    dispatcher = start(RETRY__ATTEMPTS="3", RETRY__BLOCKING=blocking, WORKERS="1")
    refuse()
    assert dispatcher.post(an_event(1))[0] == 202
    until(lambda: dispatcher.state()["counts"]["failed"] == 1, 5)
    state = dispatcher.state()
    assert state["in_flight"] == 1, "what waits for a retry is in memory"
    assert state["waiting_retry"] == (0 if blocking == "true" else 1)
    notices.execute("drop function refuse cascade")
    assert dispatcher.post(an_event(2))[0] == 202
    until(lambda: sorted(rows_of(notices)) == [1, 2], 10)
    # Only a blocking retry makes the second event wait behind the first.
    assert rows_of(notices) == ([1, 2] if blocking == "true" else [2, 1])


@pytest.mark.parametrize("kind", ["memory", "file", "database"])
def test_dead_letters_are_kept_bounded_and_replayed(
    start: Start,
    refuse: Callable[[], None],
    notices: psycopg.Connection[tuple[Any, ...]],
    tmp_path: Path,
    kind: str,
) -> None:
    settings = {"DEAD_LETTER__KIND": kind, "DEAD_LETTER__CAPACITY": "2", "WORKERS": "1"}
    if kind == "file":
        settings["DEAD_LETTER__PATH"] = str(tmp_path / "dead.jsonl")
    dispatcher = start(**settings)
    refuse()
    for n in range(3):
        assert dispatcher.post(an_event(n))[0] == 202
    until(lambda: dispatcher.state()["counts"]["failed"] == 3, 5)
    until(lambda: dispatcher.state()["counts"]["dropped"] == 1, 5)
    assert dispatcher.state()["dead_letters"] == 2
    assert "dead letter queue is full, event lost" in (tmp_path / "dispatcher.log").read_text()
    notices.execute("drop function refuse cascade")
    assert dispatcher.post(b"", "/dead-letters/replay")[1] == {"replayed": 2}
    until(lambda: rows_of(notices) == [0, 1], 5)
    assert dispatcher.state()["dead_letters"] == 0


def test_dead_letters_can_come_back_by_themselves(
    start: Start, refuse: Callable[[], None], notices: psycopg.Connection[tuple[Any, ...]]
) -> None:
    dispatcher = start(DEAD_LETTER__KIND="memory", DEAD_LETTER__REPLAY_EVERY_S="0.5")
    refuse()
    dispatcher.post(an_event(3))
    until(lambda: dispatcher.state()["counts"]["dead_lettered"] >= 1, 5)
    notices.execute("drop function refuse cascade")
    until(lambda: rows_of(notices) == [3], 5)


def _stopped(dispatcher: Dispatcher) -> float:
    begin = time.monotonic()
    dispatcher.popen.send_signal(signal.SIGTERM)
    assert dispatcher.popen.wait(30) == 0
    return time.monotonic() - begin


def test_today_a_stop_sleeps_and_abandons_the_rest(
    start: Start, notices: psycopg.Connection[tuple[Any, ...]]
) -> None:
    dispatcher = start(SHUTDOWN__SLEEP_S="1", WORKERS="1", HANDLER__TIME_S="0.1")
    for n in range(40):
        assert dispatcher.post(an_event(n))[0] == 202
    assert 0.9 <= _stopped(dispatcher) < 3
    assert 8 <= len(rows_of(notices)) < 30


def test_a_drain_waits_for_the_queue_and_refuses_new_events(
    start: Start, notices: psycopg.Connection[tuple[Any, ...]]
) -> None:
    dispatcher = start(SHUTDOWN__MODE="drain", WORKERS="2", SHUTDOWN__POLL_S="0.1")
    for n in range(60):
        assert dispatcher.post(an_event(n))[0] == 202
    dispatcher.popen.send_signal(signal.SIGTERM)
    until(lambda: dispatcher.state()["accepting"] is False, 2)
    status, answer, _ = dispatcher.post(an_event(99))
    assert (status, answer["error"]) == (503, "shutting down")
    assert dispatcher.get("/readyz")[0] == 503
    assert dispatcher.popen.wait(30) == 0
    assert sorted(rows_of(notices)) == list(range(60))


def test_a_drain_gives_up_after_its_limit(
    start: Start, notices: psycopg.Connection[tuple[Any, ...]]
) -> None:
    dispatcher = start(
        SHUTDOWN__MODE="drain", SHUTDOWN__LIMIT_S="0.6", SHUTDOWN__POLL_S="0.1", WORKERS="1"
    )
    for n in range(100):
        assert dispatcher.post(an_event(n))[0] == 202
    assert _stopped(dispatcher) < 4
    assert len(rows_of(notices)) < 60


_POST = """
import sys, urllib.request, urllib.error
try: urllib.request.urlopen(sys.argv[1], sys.argv[2].encode(), timeout=20)
except urllib.error.HTTPError as e: print(e.code, e.read().decode())
"""


def test_a_stop_refuses_those_that_wait_for_room(start: Start) -> None:
    dispatcher = start(QUEUE__CAPACITY="1", WORKERS="1", HANDLER__TIME_S="30", PUSH__TIMEOUT_S="20")
    for n in range(2):
        assert dispatcher.post(an_event(n))[0] == 202
    waiting = subprocess.Popen(
        [
            *(sys.executable, "-c", _POST),
            *(f"{dispatcher.base}/events", json.dumps(an_event(2))),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.7)
    dispatcher.popen.send_signal(signal.SIGTERM)
    out, _ = waiting.communicate(timeout=20)
    assert out.startswith("503")
    assert "shutting down" in out
    dispatcher.popen.wait(10)


def test_a_wrong_setting_ends_it_with_one_sentence() -> None:
    environment = {"PATH": os.environ["PATH"], "DISPATCHER_WORKRES": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "lossmeter_dispatcher"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert done.stderr == "DISPATCHER_WORKRES is not a setting of the dispatcher\n"
