"""A dispatcher of somebody else's is measured by one TOML file, without touching Python."""

from __future__ import annotations

from pathlib import Path

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


def test_a_foreign_dispatcher_is_crashed_and_audited(project: Path) -> None:
    (project / "theirs.toml").write_text(TARGET)
    with (project / "experiments" / "budgets.toml").open("a") as budgets:
        budgets.write(BUDGET)
    done = harness(
        *("run", "crash", "--variant", "default", "--target", "theirs.toml"),
        *("--runtime", "local", "--seed", "7", "--json", "-"),
    )
    (result,) = done.results()
    # 5 threads of 20 ms keep up with 200 events/s, so the queue never fills: no fault, and
    # so no verdict, rather than a pass.
    assert done.code == 7, done.err
    assert "queue_length >= 500 was not met" in result["reason"]
    assert result["counts"]["sent"] == result["counts"]["delivered"] == 1800
