"""What a result depends on besides the experiment: machine, versions, settings."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from pydantic.main import IncEx

import lossmeter
from lossmeter.errors import redacted
from lossmeter.plan.catalogue import Cell
from lossmeter.record.facts import Facts
from lossmeter.record.files import write_text

PACKAGES = (
    *("lossmeter", "locust", "gevent", "numpy", "psycopg", "redis", "confluent-kafka"),
    *("starlette", "uvicorn", "uvloop"),
)
# What a variable holds is recorded only where its name is one that experiments may set by
# this target's file; a setting of a server only where it is one of these.
SERVER_SETTINGS = frozenset(
    {
        *("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy"),
        *("synchronous_commit", "fsync", "full_page_writes", "wal_sync_method"),
        *("max_connections", "shared_buffers", "commit_delay", "statement_timeout"),
        "innodb_flush_log_at_trx_commit",
        *("acks", "enable.idempotence", "min.insync.replicas", "unclean.leader.election.enable"),
        *("log.flush.interval.messages", "group.protocol", "session.timeout.ms"),
    }
)
_OF_THE_TARGET: Mapping[str, IncEx | bool] = {
    **dict.fromkeys(("name", "ack_level", "behaviour", "services", "proxied", "stages"), True),
    "http": {"accepted", "refused", "timeout_s"},
    "container": {"port", "memory_mib", "read_only"},
    "process": {"__all__": {"name", "count", "health", "stop_signal", "grace_s"}},
    "persisted": {"kind", "quiet_s", "settle_limit_s"},
}
_PLACEHOLDER = re.compile(r"\{[a-z_]+(\.[a-z_]+)?\}")
HIDDEN = "(not recorded)"
GIT_WITHIN_S = 10.0


def machine() -> dict[str, str | int | float]:
    """Return the machine's make, without its name."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """Return the commit of the clone that this code lies in; None for an installed package."""
    root = Path(lossmeter.__file__).parents[2]
    return commit_of(root) if (root / ".git").exists() else None


@cache
def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder is at, e.g. ``1a2b3c4d5e6f with changes``, if Git knows."""
    git = ("git", "-C", str(folder), "describe", "--always", "--exclude=*", "--dirty")
    # Of the caller's variables some of Git's would name another repository.
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    try:
        done = subprocess.run(
            (*git, "--abbrev=12"),
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=GIT_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said, _, changed = done.stdout.strip().partition("-")
    return (f"{said} with changes" if changed else said) if done.returncode == 0 else None


def made_with() -> str:
    """Return which lossmeter this is, and on which machine, in words."""
    which = f"lossmeter {version('lossmeter')}"
    code = f"{which}, commit {known}" if (known := commit()) else which
    machine_in_words = (f"{name.replace('_', ' ')} {value}" for name, value in machine().items())
    return f"{code}; {', '.join(machine_in_words)}"


def packages() -> dict[str, str]:
    """Return the versions of the packages that shape a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def save_environment(
    folder: Path, facts: Facts, cell: Cell, versions: Mapping[str, str], served: int
) -> None:
    """Write ``environment.json``; ``served`` counts the runs that the servers had served."""
    target = cell.target
    variables = {k: v for each in target.processes for k, v in each.environment.items()}
    record = {
        "run_id": facts.run_id,
        "seed": facts.seed,
        "machine": machine(),
        "commit": commit(),
        "packages": packages(),
        "servers": dict(versions),
        "servers_served_before": served,
        "numbers": cell.numbers(),
        "settings": known_settings(variables | cell.environment(), target.settings.values()),
        "server_settings": {
            name: {key: value if key in SERVER_SETTINGS else HIDDEN for key, value in own.items()}
            for name, own in cell.servers().items()
        },
        "target": target.model_dump(mode="json", include=_OF_THE_TARGET),
    }
    write_text(folder / "environment.json", json.dumps(record, indent=2, sort_keys=True) + "\n")


def known_settings(variables: Mapping[str, str], harmless: Iterable[str]) -> dict[str, str]:
    """Return variables with the values of those names only that are known to be harmless.

    A value that is nothing but a placeholder, e.g. ``{port}``, is known as well.
    """
    known = set(harmless)
    return {
        name: redacted(value) if name in known or _PLACEHOLDER.fullmatch(value) else HIDDEN
        for name, value in variables.items()
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or sys.platform
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
