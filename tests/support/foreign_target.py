"""The file that says all of somebody else's dispatcher."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path(__file__).with_name("foreign_dispatcher.py")

HTTP = """\
[http]
events = "/jobs"
health = "/ping"
state = "/stats"
queue_length = "queue.size"
in_flight = "queue.busy"
boot_id = "boot"
body = '{"ident": "$producer-$sequence", "body": "$payload"}'
accepted = [201]
refused = [429]
"""

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

{HTTP}
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
