"""`lossmeter check`: what is right with a target's file, and what is not, before any fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.foreign_target import TARGET
from tests.support.program import lossmeter

WRONG_ID = (
    "split_part(ident, '-', 2)::bigint as sequence",
    "split_part(ident, '-', 2)::bigint + 70 as sequence",
)
WRONG_ANSWER = ("accepted = [201]", "accepted = [202]")
WRONG_START = ('command = ["{python}", ', 'command = ["{python}", "-c", "print(12345 * 11111)", ')


def _check(project: Path, *changes: tuple[str, str]) -> tuple[int, list[str]]:
    text = TARGET
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (project / "theirs.toml").write_text(text)
    done = lossmeter("check", "theirs.toml", "--runtime", "local")
    assert "Traceback" not in done.err
    assert not list((project / "results").glob("runs/*"))
    return done.code, done.out.splitlines()


def test_a_target_that_is_right_leads_to_the_first_fault(project: Path) -> None:
    assert _check(project) == (
        0,
        [
            "right: 10 of 10 events were acked",
            "right: each acked event was found again by its id",
            "next: lossmeter run crash --target theirs.toml",
        ],
    )


def test_a_wrong_id_and_a_wrong_answer_are_told_apart(project: Path) -> None:
    code, lines = _check(project, WRONG_ID)
    assert code == 1
    assert lines[0] == "right: 10 of 10 events were acked"
    assert lines[1].startswith(
        "wrong: 10 rows were read, and none bears an id that was sent; the first says producer "
    )
    assert "sequence 7" in lines[1]

    code, lines = _check(project, WRONG_ANSWER, ("payload_hash,", "other,"))
    assert code == 1
    assert lines == [
        "wrong: 0 of 10 events were acked; the others: 10 × HTTP 201 (POST /jobs, acks are 202)",
        "wrong: 10 events are there without an ack: it was another answer, or came too late",
        "not measured: whether events were altered: the store gives no payload_hash",
    ]


def test_one_that_does_not_start_is_told_with_its_last_words(project: Path) -> None:
    code, lines = _check(project, WRONG_START)
    assert code == 1
    assert lines[0].startswith("wrong: target theirs, asked on http://127.0.0.1:")
    assert lines[0].endswith("ended with exit code 0 while starting: 137165295")
    assert lines[1:] == []


SLOW = ("        if taken :=", "        import time; time.sleep(0.2)\n        if taken :=")


@pytest.mark.parametrize("key", ["jobs", "jbos"])
def test_a_key_that_does_not_exist_is_not_taken_for_an_empty_queue(project: Path, key: str) -> None:
    examples = Path(__file__).resolve().parents[2] / "docs" / "examples"
    text = (examples / "list-worker.toml").read_text()
    assert 'keys = ["jobs"]' in text
    (project / "list-worker.toml").write_text(text.replace('keys = ["jobs"]', f'keys = ["{key}"]'))
    worker = (examples / "list_worker.py").read_text()
    assert SLOW[0] in worker
    (project / "list_worker.py").write_text(worker.replace(*SLOW))
    done = lossmeter("check", "list-worker.toml", "--runtime", "local")
    assert done.code == 0, done.err
    said = [line for line in done.out.splitlines() if "[queue]" in line]
    assert bool(said) == (key == "jbos"), done.out
    if said:
        assert said[0].startswith("not measured: whether [queue] names the right one")


WAITS = "pending = {}"


@pytest.mark.parametrize(
    ("pending", "said"),
    [
        ("{}", ""),
        ('{keys = ["jbos"]}', "[queue.pending] found no event, although for "),
        (
            "{pattern = 'job (?P<producer>.) (?P<sequence>.)'}",
            "and found no event's id in any: its pattern, pointer or encoding is not that of what",
        ),
    ],
    ids=["right", "wrong key", "wrong pattern"],
)
def test_what_waits_and_is_not_found_in_the_broker_is_not_taken_for_nothing(
    project: Path, pending: str, said: str
) -> None:
    examples = Path(__file__).resolve().parents[2] / "docs" / "examples"
    text = (examples / "list-worker.toml").read_text()
    assert WAITS in text
    (project / "list-worker.toml").write_text(text.replace(WAITS, f"pending = {pending}"))
    worker = (examples / "list_worker.py").read_text()
    (project / "list_worker.py").write_text(worker.replace(*SLOW))
    done = lossmeter("check", "list-worker.toml", "--runtime", "local")
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if "[queue.pending]" in line]
    assert len(lines) == bool(said), done.out
    assert all(line.startswith("not measured: what the broker still holds: ") for line in lines)
    assert all(said in line for line in lines)
