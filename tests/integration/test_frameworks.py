"""Applications as people have them, judged by a target file alone and by no code of ours."""

from __future__ import annotations

from pathlib import Path

from tests.support.program import lossmeter

NAMES = ("celery-redis", "celery-rabbitmq", "rq", "kafka-consumer", "go-channel", "bullmq")
EVENTS, MOST_LINES = 80, 20


def test_each_framework_is_judged_by_its_file_alone(project: Path) -> None:
    folder = project / "targets" / "frameworks"
    files = [folder / name / f"{name}.toml" for name in NAMES]
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    done = lossmeter(
        *("run", "control", "--rate", "40", "--duration", "2", "--runtime", "local", "--json", "-"),
        *(word for file in files for word in ("--target", str(file))),
        timeout_s=290,
    )
    assert done.code == 0, done.err
    found = {result["target"]: result["counts"] for result in done.results()}
    assert set(found) == set(NAMES)
    for counts in found.values():
        assert counts["sent"] == counts["acked"] == counts["delivered"] == EVENTS
        assert counts["lost"] == counts["duplicated"] == counts["unknown"] == 0
    # Their packages are in the cache, and nothing is beside their sources that was not before.
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    # What makes each a target is its file: what starts it, and where its events are.
    for file in files:
        lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
        assert len([line for line in lines if line]) <= MOST_LINES, file
