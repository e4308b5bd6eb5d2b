"""What a result depends on besides the experiment: machine, versions, settings."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from harness.catalogue import Cell
from harness.facts import Facts

PACKAGES = (
    *("lossmeter", "locust", "gevent", "numpy", "psycopg", "redis", "confluent-kafka"),
    *("starlette", "uvicorn", "uvloop"),
)
_SECRET_WORDS = ("PASSWORD", "URL", "SECRET", "TOKEN")


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
    start = cell.target.start
    settings = (start.environment if start else {}) | cell.environment()
    record = {
        "run_id": facts.run_id,
        "seed": facts.seed,
        "machine": machine(),
        "packages": packages(),
        "servers": dict(versions),
        "servers_served_before": served,
        "settings": without_secrets(settings),
        "target": cell.target.model_dump(
            mode="json", exclude={"start": True, "container": {"build"}, "persisted": {"database"}}
        ),
    }
    text = json.dumps(record, indent=2, sort_keys=True)
    (folder / "environment.json").write_text(text + "\n", encoding="utf-8")


def without_secrets(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings with the values of telling names left out."""
    return {
        name: "(not recorded)" if any(word in name for word in _SECRET_WORDS) else value
        for name, value in settings.items()
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or sys.platform
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
