"""Targets of several processes: whom a SIGKILL reaches, and what goes on without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lossmeter.model import Evidence
from lossmeter.record.facts import Facts, FaultRecord
from tests.support.processes import GUNICORN, UVICORN
from tests.support.program import Done, left_behind, lossmeter

EXPERIMENT = """
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

EXPERIMENT = Experiment(
    name="struck",
    hypothesis="What was acked is persisted, whoever is killed.",
    variants=tuple(
        Variant(
            whom,
            steady(50, 4),
            (PlannedFault("sigkill", Trigger(at_s=1), hold_s=1.5, parameters={"whom": whom}),),
        )
        for whom in ("main", "child", "tree")
    ),
    targets=("mine.toml",),
    predict=lambda seen: Predicted(),
    bounds={"max_lost": 0},
)
"""


EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(project: Path, *arguments: str) -> tuple[Done, list[Path]]:
    done = lossmeter("run", *arguments, "--runtime", "local", "--seed", "5", "--json", "-")
    return done, sorted((project / "results" / "runs").iterdir())


def record_of(folder: Path) -> FaultRecord:
    (record,) = Facts.load(folder).faults
    return record


def seen_by(record: FaultRecord, source: str) -> list[Evidence]:
    return [each for each in record.evidence if each.source == source]


@pytest.mark.parametrize(
    ("server", "serve_on"),
    [pytest.param(UVICORN, True, id="uvicorn"), pytest.param(GUNICORN, False, id="gunicorn")],
)
def test_the_parent_a_child_and_the_tree_are_three_questions(
    project: Path, server: str, serve_on: bool
) -> None:
    (project / "struck.py").write_text(EXPERIMENT)
    (project / "mine.toml").write_text(server)
    done, folders = run(project, "struck.py")
    assert done.code == 0, done.err
    assert [result["verdict"] for result in done.results()] == ["pass"] * 3
    main, child, tree = map(record_of, folders)
    check_parent_killed(main, serve_on=serve_on)
    check_child_killed(child)
    check_tree_killed(tree)
    assert all(each.holds for record in (main, child, tree) for each in record.evidence)
    assert left_behind(done.pid) == []


def check_parent_killed(main: FaultRecord, *, serve_on: bool) -> None:
    """Check that the workers outlived their parent, and what became of its port is told."""
    outlived, older = seen_by(main, "process-tree")
    assert outlived.value.count("process ") >= 2
    # Those of gunicorn notice within a second or two that they are alone, and then end.
    assert "they still answer" in outlived.value or not serve_on
    assert "held the port, and was removed for the restart" in older.value or not serve_on
    (answers,) = seen_by(main, "health-probe")
    assert "with one" in answers.value


def check_child_killed(child: FaultRecord) -> None:
    gone, then = seen_by(child, "process-tree")
    assert "none of the target's processes any more" in gone.claim
    assert then.value.startswith("started process ")
    before, after = seen_by(child, "process-table")
    assert before.claim == after.claim == "the same process goes on"
    assert seen_by(child, "pidfd")


def check_tree_killed(tree: FaultRecord) -> None:
    (none,) = seen_by(tree, "process-tree")
    assert "is left" in none.value
    (silence,) = seen_by(tree, "health-probe")
    assert "did not answer" in silence.claim


def test_a_killed_worker_leaves_acked_events_to_the_next(project: Path) -> None:
    target = str(EXAMPLES / "pair.toml")
    done, (folder,) = run(project, str(EXAMPLES / "worker-away.toml"), "--target", target)
    (result,) = done.results()
    assert done.code == 0, done.err
    assert result["counts"]["acked"] == result["counts"]["delivered"] == 200
    record = record_of(folder)
    assert {each.source for each in record.evidence} >= {"waitpid", "process-table"}
    assert all(each.value.startswith("worker: ") for each in record.evidence)
    # The web process went on: it was probed all the time, and what it acked waited in Redis.
    samples = [json.loads(line) for line in (folder / "probe.jsonl").read_text().splitlines()]
    assert record.injected_ns is not None
    assert record.healed_ns is not None
    away = [s for s in samples if record.injected_ns < s["asked_ns"] < record.healed_ns]
    assert all(sample["ok"] for sample in away)
    assert max(sample["queue_length"] or 0 for sample in away) > 20
    assert samples[-1]["queue_length"] == 0
    assert "takes jobs" in (folder / "logs" / "worker.log").read_text()
    assert (folder / "logs" / "web.log").exists()
    assert left_behind(done.pid) == []
