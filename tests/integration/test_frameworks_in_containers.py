"""Applications as people have them, in containers of which nothing stands in their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.judge.verdict import judge_run
from lossmeter.record.facts import Facts
from tests.support.program import lossmeter
from tests.support.sites import on_engine, runtime_named

# One for each kind of environment, for each broker, and for each way of handing events over.
NAMES = ("celery-redis", "rq", "kafka-consumer", "go-channel", "bullmq")
EVENTS = 60
KILLED = """
[experiment]
hypothesis = "Workers that are killed lose what they had in hand."
targets = ["targets/frameworks/celery-redis/celery-redis.toml"]

[load]
rate_per_s = 40
duration_s = 3

[bounds]
max_lost = 40
max_stranded = 40
max_unresolved = 0

[[fault]]
kind = "sigkill"
at_s = 1
parameters = {process = "worker"}
"""


@pytest.fixture(autouse=True)
def _engine() -> None:
    runtime_named("docker")


def test_each_framework_runs_in_containers_by_its_file_alone(project: Path) -> None:
    folder = project / "targets" / "frameworks"
    files = [folder / name / f"{name}.toml" for name in NAMES]
    assert not any("[container]" in file.read_text() for file in files)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    done = lossmeter(
        *("run", "control", "--rate", "30", "--duration", "2", "--runtime", "docker"),
        *("--json", "-", *(word for file in files for word in ("--target", str(file)))),
        timeout_s=290,
    )
    assert done.code == 0, done.err
    found = {result["target"]: result for result in done.results()}
    assert set(found) == set(NAMES)
    for result in found.values():
        counts = result["counts"]
        assert result["runtime"] == "docker"
        assert counts["sent"] == counts["acked"] == counts["delivered"] == EVENTS
        assert counts["lost"] == counts["duplicated"] == counts["unknown"] == 0
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    assert on_engine(f":{done.pid}:") == []


def test_a_worker_in_a_container_of_its_own_making_is_killed(project: Path) -> None:
    (project / "killed.toml").write_text(KILLED)
    done = lossmeter("run", "killed.toml", "--runtime", "docker")
    assert done.code == 0, done.err
    (folder,) = (project / "results" / "runs").iterdir()
    assert judge_run(folder).verdict == "pass"
    (record,) = Facts.load(folder).faults
    assert not [each for each in record.evidence if not each.holds]
    assert {"engine-events", "engine-state"} <= {each.source for each in record.evidence}
    lines = (folder / "logs" / "worker.log").read_text().splitlines()
    assert len([line for line in lines if line.rstrip().endswith("ready.")]) == 2
