"""Dead letters come back: by hand, on a timer, out of tables and files; once, and counted."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from lossmeter.errors import TargetError, UsageError
from lossmeter.load.replay import _body, from_file, from_table
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.ports import free_port
from tests.support.dispatchers import Dispatcher, Start
from tests.support.program import Running, lossmeter, until
from tests.support.servers import Server

Notices = psycopg.Connection[tuple[Any, ...]]

EVENTS = 20
REFUSE = """
create or replace function refuse() returns trigger language plpgsql as $$
begin raise exception 'refused'; end $$;
create trigger refuse before insert on notice for each row execute function refuse();
"""
QUICK = {"HANDLER__TIME_S": "0.001"}


def _fail(dispatcher: Dispatcher, notices: Notices) -> None:
    """Have all events fail for good, then mend what made them fail."""
    notices.execute(REFUSE)
    events = [{"producer": 7, "sequence": n, "payload": f'"{n}"'} for n in range(EVENTS)]
    assert dispatcher.post(events)[0] == 202
    until(lambda: dispatcher.state()["counts"]["dead_lettered"] == EVENTS, 20)
    assert _persisted(notices) == []
    notices.execute("drop trigger refuse on notice")


def _persisted(notices: Notices) -> list[tuple[Any, ...]]:
    return notices.execute("select producer, sequence, payload from notice order by 2").fetchall()


def _each_once(notices: Notices) -> bool:
    return _persisted(notices) == [(7, n, f'"{n}"') for n in range(EVENTS)]


def _settings(kind: str, tmp_path: Path) -> dict[str, str]:
    own = {**QUICK, "DEAD_LETTER__KIND": kind}
    return own | ({"DEAD_LETTER__PATH": str(tmp_path / "dead.jsonl")} if kind == "file" else {})


@pytest.mark.parametrize("kind", ["memory", "file", "database"])
def test_by_hand_each_comes_back_once_and_is_counted(
    kind: str, start: Start, notices: Notices, tmp_path: Path
) -> None:
    dispatcher = start(**_settings(kind, tmp_path))
    _fail(dispatcher, notices)
    assert dispatcher.state()["dead_letters"] == EVENTS

    done = lossmeter("replay", dispatcher.base)

    assert done.code == 0, done.err
    assert done.out.strip() == f"{EVENTS} dead letters replayed"
    until(lambda: _each_once(notices), 10)
    state = dispatcher.state()
    assert state["dead_letters"] == 0
    assert (state["counts"]["replayed"], state["counts"]["persisted"]) == (EVENTS, EVENTS)
    assert f"messages_replayed_total {EVENTS}.0" in dispatcher.get("/metrics")[1]
    assert lossmeter("replay", dispatcher.base).out.strip() == "0 dead letters replayed"
    assert _each_once(notices)


def test_on_the_dispatchers_timer(start: Start, notices: Notices) -> None:
    dispatcher = start(**QUICK, DEAD_LETTER__KIND="database", DEAD_LETTER__REPLAY_EVERY_S="0.5")
    notices.execute(REFUSE)
    assert dispatcher.post({"producer": 7, "sequence": 0, "payload": "x"})[0] == 202
    # It comes back, fails, and is kept again, as long as the database refuses it.
    until(lambda: dispatcher.state()["counts"]["replayed"] >= 2, 10)
    notices.execute("drop trigger refuse on notice")
    until(lambda: _persisted(notices) == [(7, 0, "x")], 10)
    until(lambda: dispatcher.state()["dead_letters"] == 0, 5)


def test_on_a_timer_of_the_harness(
    start: Start, notices: Notices, background: Callable[..., Running]
) -> None:
    dispatcher = start(**QUICK, DEAD_LETTER__KIND="memory")
    running = background("replay", dispatcher.base, "--every", "0.2")
    _fail(dispatcher, notices)
    until(lambda: _each_once(notices), 10)
    time.sleep(1)
    # A dispatcher that is away for a while does not end it.
    dispatcher.popen.kill()
    time.sleep(1)
    running.send(signal.SIGINT)
    done = running.end()
    assert done.code == 2
    assert "not now: nobody listens on" in done.err
    lines = done.out.splitlines()
    assert sum(int(line.split()[0]) for line in lines) == EVENTS
    assert len(lines) > 1


def test_replays_at_the_same_time_replay_nothing_twice(start: Start, notices: Notices) -> None:
    settings = {**QUICK, "DEAD_LETTER__KIND": "database"}
    first, second = start(**settings), start(**settings)
    _fail(first, notices)
    answers: list[int] = []

    def ask(dispatcher: Dispatcher) -> None:
        answers.append(dispatcher.post(b"", "/dead-letters/replay")[1]["replayed"])

    threads = [threading.Thread(target=ask, args=(d,)) for d in (first, second, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answers) == EVENTS
    until(lambda: _each_once(notices), 10)


def test_a_replay_while_the_database_is_away_says_so(
    start: Start, notices: Notices, postgres: Server
) -> None:
    del postgres
    dispatcher = start(**QUICK, DEAD_LETTER__KIND="database")
    notices.execute("drop table dead_letter")
    done = lossmeter("replay", dispatcher.base)
    assert done.code == 3
    assert "answers 503" in done.err
    assert "the dead letters are away" in done.err


# Out of a table or a file, into another dispatcher.


def test_out_of_a_table_each_once_although_two_do_it(
    start: Start, notices: Notices, postgres: Server
) -> None:
    dispatcher = start(**QUICK, DEAD_LETTER__KIND="database")
    _fail(dispatcher, notices)
    target = Catalogue.here().target("channel")
    done = []
    threads = [
        threading.Thread(
            target=lambda: done.append(from_table(dispatcher.base, target, postgres.url))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.accepted for each in done) == EVENTS
    assert not any(each.kept for each in done)
    until(lambda: _each_once(notices), 10)
    assert dispatcher.state()["dead_letters"] == 0


def test_what_is_refused_stays_in_the_table(
    start: Start, notices: Notices, postgres: Server
) -> None:
    kept_in = {**QUICK, "DEAD_LETTER__KIND": "database"}
    _fail(start(**kept_in), notices)
    # A rate that a busy machine exceeds too, with a burst that is smaller than what comes back.
    dispatcher = start(**kept_in, PUSH__WHEN_FULL="rate-limit", PUSH__RATE_PER_S="4")
    done = lossmeter("replay", dispatcher.base, "--from", postgres.url)
    assert done.code == 1, done.err
    kept = dispatcher.state()["dead_letters"]
    assert kept > 0
    assert f"{EVENTS - kept} dead letter" in done.out
    assert f"{kept} kept ({kept} refused, 0 without an answer)" in done.out
    until(lambda: len(_persisted(notices)) == EVENTS - kept, 10)


def test_out_of_a_file(start: Start, notices: Notices, tmp_path: Path) -> None:
    file = tmp_path / "dead.jsonl"
    dispatcher = start(**QUICK, DEAD_LETTER__KIND="file", DEAD_LETTER__PATH=str(file))
    _fail(dispatcher, notices)
    lines = file.read_bytes()
    dispatcher.popen.kill()
    dispatcher.popen.wait()

    another = start(**QUICK)
    done = lossmeter("replay", another.base, "--from", str(file))

    assert done.code == 0, done.err
    assert done.out.strip() == f"{EVENTS} dead letters replayed"
    until(lambda: _each_once(notices), 10)
    assert not file.exists()
    (aside,) = tmp_path.glob("dead.jsonl.replayed-*")
    assert aside.read_bytes() == lines


def test_nothing_of_a_file_is_lost_when_nobody_listens(tmp_path: Path) -> None:
    file = tmp_path / "dead.jsonl"
    letters = [json.dumps({"producer": 1, "sequence": n, "payload": "p"}) for n in range(3)]
    file.write_text("\n".join(letters) + "\n")
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TargetError, match="nobody listens"):
        from_file(url, Catalogue.here().target("channel"), file)
    assert file.read_text().splitlines() == letters


def test_a_line_that_is_no_letter_is_named_and_nothing_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "dead.jsonl"
    file.write_text('{"producer": 1, "sequence": 2}\n[1, 2]\n')
    with pytest.raises(UsageError, match="line 2, is not a dead letter"):
        from_file("http://127.0.0.1:1", Catalogue.here().target("channel"), file)
    assert file.exists()


@pytest.mark.parametrize(
    ("letter", "body"),
    [
        ({"producer": Decimal(3), "sequence": Decimal("4.0")}, (3, 4, "")),
        ({"producer": 3, "sequence": "4"}, (3, 4, "")),
        ({"producer": 3, "sequence": 4, "payload": UUID(int=7)}, (3, 4, str(UUID(int=7)))),
        ({"producer": 3, "sequence": 4, "payload": b"a\xc3\xbc"}, (3, 4, "aü")),
        ({"producer": 3, "sequence": 4, "payload": {"a": ['"', 1]}}, (3, 4, '{"a": ["\\"", 1]}')),
        ({"producer": 3, "sequence": 4, "payload": datetime(2026, 1, 2, tzinfo=UTC)},
         (3, 4, "2026-01-02 00:00:00+00:00")),
        ({"producer": 3, "sequence": 4, "payload": Decimal("1.50")}, (3, 4, "1.50")),
    ],
)  # fmt: skip
def test_a_letter_of_any_column_type_makes_the_json_of_its_event(
    letter: dict[str, object], body: tuple[int, int, str]
) -> None:
    made = json.loads(_body(Catalogue.here().target("channel"), letter))
    assert (made["producer"], made["sequence"], made["payload"]) == body


@pytest.mark.parametrize(
    ("letter", "said"),
    [
        ({"producer": Decimal("1.5"), "sequence": 4}, "column producer is Decimal"),
        ({"producer": Decimal("Infinity"), "sequence": 4}, "column producer is Decimal"),
        ({"producer": None, "sequence": 4}, "column producer is None"),
        ({"producer": 3, "sequence": UUID(int=1)}, "column sequence is UUID"),
        ({"producer": 3, "sequence": "four"}, "which is not JSON"),
        ({"producer": 3, "sequence": 4, "payload": None}, "column payload is NULL"),
        ({"producer": 3, "sequence": 4, "payload": b"\xff"}, "bytes that are no UTF-8"),
    ],
)
def test_a_column_that_makes_no_event_is_named(letter: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _body(Catalogue.here().target("channel"), letter)


def test_a_table_of_numeric_and_jsonb_letters_is_replayed(
    start: Start, notices: Notices, postgres: Server
) -> None:
    dispatcher = start(**QUICK)
    notices.execute("drop table if exists odd")
    notices.execute("create table odd (id uuid, producer numeric, sequence numeric, payload jsonb)")
    notices.execute("insert into odd select gen_random_uuid(), 1, n, '{\"a\": 1}'"
                    " from generate_series(1, 5) n")  # fmt: skip
    target = Catalogue.here().target("channel")
    letters = target.dead_letters.model_copy(
        update={"query": "select * from odd -- all", "remove": "delete from odd where id = %(id)s"}
    )
    target = target.model_copy(update={"dead_letters": letters})
    assert from_table(dispatcher.base, target, postgres.url).accepted == 5
    notices.execute("insert into odd values (gen_random_uuid(), 1, 9, null)")
    with pytest.raises(UsageError, match="column payload is NULL"):
        from_table(dispatcher.base, target, postgres.url)
    notices.execute("drop table odd")


def test_a_file_that_is_used_up_is_waited_for(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "dead.jsonl"
    letter = json.dumps({"producer": 1, "sequence": 2, "payload": "p"})
    file.write_bytes(f"\n{letter}\r\n \n".encode())
    running = Running("replay", start(**QUICK).base, "--from", str(file), "--every", "0.2")
    until(lambda: not file.exists(), 30)
    time.sleep(1)
    file.write_text(letter.replace("2", "3") + "\n")
    until(lambda: not file.exists(), 30)
    running.send(signal.SIGINT)
    done = running.end()
    assert done.code == 2, done.err
    assert sum(int(line.split()[0]) for line in done.out.splitlines()) == 2
    assert "0 dead letters replayed" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://10.1.2.3:80",), "is not on this machine's loopback"),
        (("127.0.0.1:80",), "is not of the form http://127.0.0.1:PORT"),
        (("http://127.0.0.1:1", "--from", "redis://x"), "neither a file nor a postgresql:// URL"),
        (("http://127.0.0.1:1", "--from", "none.jsonl"), "none.jsonl cannot be read"),
        (("http://127.0.0.1:1", "--target", "chanel"), "did you mean 'channel'"),
    ],
)
def test_a_wrong_command_line(arguments: tuple[str, ...], said: str) -> None:
    done = lossmeter("replay", *arguments)
    assert done.code == 4
    assert said in done.err
    assert "Traceback" not in done.err


# In a run: the ledger sees them come back.

RUN = """
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

REJECT = {"table": "notice", "every": 2, "remainder": 0}
EXPERIMENT = Experiment(
    name="refused-for-a-while",
    hypothesis="What was dead-lettered while the database refused it is persisted later, once.",
    variants=(
        Variant("", steady(50, 5), (PlannedFault("reject-rows", Trigger(at_s=1), 2.0, REJECT),)),
    ),
    targets=("mine.toml",),
    predict=lambda seen: Predicted(lost=0, duplicated_max=0),
    bounds={"max_lost": 0, "max_duplicated": 0, "max_dead_lettered": 60},
)
"""


@pytest.mark.parametrize("replayed", [True, False])
def test_in_a_run_they_are_counted_where_they_are(project: Path, replayed: bool) -> None:
    text = (project / "targets" / "channel.toml").read_text()
    old = 'DISPATCHER_QUEUE__TYPE = "channel"\n'
    kind = 'DISPATCHER_DEAD_LETTER__KIND = "database"\n'
    timer = 'DISPATCHER_DEAD_LETTER__REPLAY_EVERY_S = "0.5"\n' if replayed else ""
    build = 'build = "dispatcher"'
    mine = text.replace(old, old + kind + timer).replace(build, 'build = "targets/dispatcher"')
    (project / "mine.toml").write_text(mine)
    (project / "refused.py").write_text(RUN)
    done = lossmeter("run", "refused.py", "--runtime", "local", "--json", "-")
    assert done.code == 0, done.err
    counts = done.results()[0]["counts"]
    assert counts["lost"] == counts["duplicated"] == 0
    assert counts["acked"] == counts["sent"] == 250
    assert counts["delivered"] + counts["dead_lettered"] == 250
    # Half of the events of two seconds were refused.
    assert counts["dead_lettered"] == 0 if replayed else 40 <= counts["dead_lettered"] <= 60
