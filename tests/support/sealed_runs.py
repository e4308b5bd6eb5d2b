"""Runs written by hand that are sealed, as a run of today leaves them."""

from __future__ import annotations

import json
from pathlib import Path

from lossmeter.record.facts import Facts
from lossmeter.run.conclusion import conclude
from tests.support.recorded_runs import record


def sealed(project: Path, name: str, *, lost: int = 0, **facts: object) -> Path:
    """Record a run, seal it and judge it, by what ends every run."""
    folder = record(project, name, lost=lost, **facts)
    (folder / "load-plan.json").write_text(
        json.dumps({"phases": [[1.0, 40.0]], "producers": 1, "payload_bytes": 64})
    )
    (folder / "environment.json").write_text(json.dumps({"machine": {"cores": 2}}))
    logs = folder / "logs"
    logs.mkdir()
    (logs / "target.log").write_text("it started\n")
    conclude(folder, Facts.load(folder))
    return folder
