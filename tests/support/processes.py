"""Targets whose main process has others beside it."""

from __future__ import annotations

from pathlib import Path

from lossmeter.plan.target import Target

HERE = Path(__file__).parent


def with_a_child(target: Target) -> Target:
    """Return the target as one that starts another process beside its main one."""
    assert target.start is not None
    script = "sleep 600 & exec {python} -m lossmeter_dispatcher"
    start = target.start.model_copy(update={"command": ("/bin/sh", "-c", script)})
    return target.model_copy(update={"start": start})


_PREFORK = """
name = "{name}"
summary = "{name} with two workers"
services = ["postgres"]
proxied = ["postgres"]
ack_level = "database"
[http]
events = "/jobs"
health = "/ping"
body = '{{"ident": "$producer-$sequence", "body": "$payload"}}'
[persisted]
query = '''
select split_part(ident, '-', 1)::bigint as producer,
       split_part(ident, '-', 2)::bigint as sequence,
       n as position, at as persisted_at
from job
'''
[start]
command = {command}
[start.environment]
DSN = "{{postgres.url}}"
"""


def _prefork(name: str, *options: str) -> str:
    command = ["{python}", "-m", name, *options]
    return _PREFORK.format(name=name, command=command)


UVICORN = _prefork(
    "uvicorn",
    *("--app-dir", str(HERE), "--workers", "2", "--host", "{host}", "--port", "{port}"),
    *("--log-level", "warning", "prefork:app"),
)
GUNICORN = _prefork(
    "gunicorn",
    *("--chdir", str(HERE), "--workers", "2", "--bind", "{host}:{port}"),
    "prefork:wsgi",
)
