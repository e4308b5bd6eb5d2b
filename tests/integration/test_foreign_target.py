"""A dispatcher of somebody else's is measured by one TOML file, without touching Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.conftest import harness

SOURCE = Path(__file__).with_name("foreign_dispatcher.py")

TARGET = f"""
name = "theirs"
summary = "threads and a queue.Queue"
ack_level = "enqueued"
services = ["postgres"]
proxied = ["postgres"]

[start]
command = ["{{python}}", "{SOURCE}"]
[start.environment]
PORT = "{{port}}"
DSN = "{{postgres.url}}"
THREADS = "2"

[http]
events = "/jobs"
health = "/ping"
state = "/stats"
queue_length = "queue.size"
in_flight = "queue.busy"
boot_id = "boot"
body = '{{"ident": "$producer-$sequence", "body": "$payload"}}'
accepted = [201]
refused = [429]

[persisted]
database = "postgres"
query = '''
select split_part(ident, '-', 1)::bigint as producer,
       split_part(ident, '-', 2)::bigint as sequence,
       ('x' || left(md5(body), 16))::bit(64)::bigint as payload_hash,
       n as position, at as persisted_at
from jobs
'''

[behaviour]
workers = 2
queue_survives_crash = false
in_hand_survives_crash = false

[settings]
workers = "THREADS"
"""

BUDGET = """
[crash.theirs]
max_lost = 515
max_duplicated = 0
min_sent = 1800
"""


def _crash(project: Path, target: str) -> tuple[int, dict[str, Any]]:
    (project / "theirs.toml").write_text(target)
    with (project / "experiments" / "budgets.toml").open("a") as budgets:
        budgets.write(BUDGET)
    done = harness(
        *("run", "crash", "--variant", "default", "--target", "theirs.toml"),
        *("--runtime", "local", "--seed", "7", "--json", "-"),
    )
    (result,) = done.results()
    return done.code, result


def test_a_foreign_dispatcher_is_crashed_and_audited(project: Path) -> None:
    # 2 threads of 20 ms handle 100 events/s, as the reference dispatcher does.
    code, result = _crash(project, TARGET.replace('workers = "THREADS"', ""))
    assert code == 0, result["reason"]
    assert 500 <= result["counts"]["lost"] <= 515
    assert result["prediction_holds"] is True
    # It leaves no marks, so its losses are placed by time and by place.
    assert result["stages"] is None
    assert sum(result["lost_when"].values()) == result["counts"]["lost"]
    assert sum(result["lost_where"].values()) == result["counts"]["lost"]
    assert result["counts"]["unexpected"] == result["counts"]["corrupted"] == 0
    assert len({seen["source"] for seen in result["evidence"] if seen["holds"]}) == 4


def test_a_queue_that_never_fills_is_no_pass(project: Path) -> None:
    # The experiment asks for 5 workers, and with 5 threads this one keeps up.
    code, result = _crash(project, TARGET)
    assert code == 7, result["reason"]
    assert "queue_length >= 500 was not met" in result["reason"]
    assert result["counts"]["sent"] == result["counts"]["delivered"] == 1800
