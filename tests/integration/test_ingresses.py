"""Runs whose events do not go by HTTP: the same ledger, evidence and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.program import lossmeter

TARGET = """
extends = "redis-list"
name = "direct"
summary = "producers push into the list that the dispatcher pops from"
stages = false

[http]
state = "/state"
queue_length = ""                     # read from outside instead

[queue]
kind = "redis"
keys = ["{key}"]
"""

BY_REDIS = """
[ingress]
kind = "redis"
command = "LPUSH"
key = "{name}"
body = '[$producer, $sequence, "k", "$payload", 0.0]'
"""

BY_CALL = """
[ingress]
kind = "python"
call = "jobs:enqueue"
arguments = ["$producer", "$sequence"]
keywords = {{ text = "$payload" }}
refused = ["builtins.BlockingIOError"]
[ingress.environment]
REDIS = "{{redis.url}}"
"""

JOBS = """
import json, os
import redis

CLIENT = redis.Redis.from_url(os.environ["REDIS"])

def enqueue(producer, sequence, text):
    if sequence == 7:
        raise BlockingIOError("queue is full")
    CLIENT.lpush("{name}", json.dumps([producer, sequence, "k", text, 0.0]))
"""

BUDGETS = """
[control.direct]
max_lost = 0
[crash.direct]
max_lost = 10
"""

NAME = "events"


def run(
    project: Path, experiment: str, ingress: str, *more: str, key: str = NAME
) -> tuple[int, list[dict[str, Any]], str]:
    name = NAME
    (project / "direct.toml").write_text((TARGET + ingress).format(name=name, key=key))
    (project / "jobs.py").write_text(JOBS.replace("{name}", name))
    with (project / "experiments" / "budgets.toml").open("a") as budgets:
        budgets.write(BUDGETS)
    done = lossmeter(
        *("run", experiment, "--target", "direct.toml", "--runtime", "local", "--seed", "4"),
        *("--json", "-", *more),
    )
    return done.code, done.results() if done.out.strip() else [], done.err


def test_a_control_by_a_redis_command_loses_nothing(project: Path) -> None:
    code, (result,), err = run(project, "control", BY_REDIS)
    counts = result["counts"]
    assert code == 0, (result["reason"], err)
    assert counts["acked"] == counts["delivered"] == counts["sent"] > 0


def test_a_key_that_never_held_anything_is_not_taken_for_an_empty_queue(project: Path) -> None:
    numbers = ("--rate", "40", "--duration", "1")
    code, (result,), err = run(project, "control", BY_REDIS, *numbers, key="nowhere")
    assert result["counts"]["delivered"] == 40, (code, result["reason"], err)
    assert "settled: target does not tell what it holds" in err
    assert "queue empty" not in err


def test_a_crash_is_told_by_the_length_of_the_list(project: Path) -> None:
    code, (result,), err = run(project, "crash", BY_REDIS, "--variant", "default")
    counts = result["counts"]
    assert code == 0, (result["reason"], err)
    # The broker lives on while the workers are away: nothing is refused, nothing unknown.
    assert counts["acked"] == counts["sent"] == 1800
    assert 0 <= counts["lost"] <= 10


def test_a_callable_may_refuse(project: Path) -> None:
    code, (result,), err = run(project, "control", BY_CALL)
    counts = result["counts"]
    assert counts["refused"] > 0, (code, result["reason"], err)
    assert counts["acked"] == counts["delivered"]
    assert counts["acked"] + counts["refused"] == counts["sent"]
    assert counts["resurrected"] == 0


@pytest.mark.parametrize(
    ("ingress", "said"),
    [
        (BY_CALL.replace("jobs:enqueue", "jobs:nothing"), "has no attribute 'nothing'"),
        (BY_CALL.replace("jobs:enqueue", "nowhere:enqueue"), "No module named 'nowhere'"),
        ("\n[ingress]\nkind = 'program'\ncommand = ['/no/such']\n", "/no/such cannot be started"),
        ("\n[ingress]\nkind = 'program'\ncommand = ['/bin/true']\n", "it said nothing"),
        ("\n[ingress]\nkind = 'pigeon'\n", "ingress 'pigeon' does not exist"),
    ],
)
def test_an_ingress_that_cannot_be_is_one_sentence(project: Path, ingress: str, said: str) -> None:
    code, results, err = run(project, "control", ingress)
    assert code == 4, err
    assert said in err
    assert "Traceback" not in err.replace("Traceback (most recent call last)", "", 1)
    assert not [result for result in results if result["verdict"] == "pass"]
