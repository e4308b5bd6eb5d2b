"""The shipped experiments on real servers: the numbers of the mission, and their evidence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import lossmeter

TARGETS = ("channel", "redis-list", "redis", "kafka")
SEED = "20261124"


def _by_target(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {result["target"]: result for result in results}


@pytest.fixture(scope="module")
def crash() -> dict[str, dict[str, Any]]:
    done = lossmeter(
        *("run", "crash", "--variant", "default", "--runtime", "local"),
        *("--seed", SEED, "--json", "-"),
    )
    assert done.code == 0, done.err
    return _by_target(done.results())


@pytest.mark.parametrize("target", TARGETS)
def test_a_crash_loses_what_the_model_says(crash: dict[str, dict[str, Any]], target: str) -> None:
    result = crash[target]
    counts, predicted = result["counts"], result["predicted"]
    assert result["verdict"] == "pass", result["reason"]
    assert counts["sent"] == 1800
    assert abs(counts["lost"] - predicted["lost"]) <= predicted["lost_tolerance"]
    assert counts["duplicated"] <= predicted["duplicated_max"]
    assert counts["unexpected"] == counts["resurrected"] == counts["corrupted"] == 0
    sources = {seen["source"] for seen in result["evidence"] if seen["holds"]}
    assert {"waitpid", "process-table", "health-probe"} <= sources


@pytest.mark.parametrize("target", TARGETS)
def test_each_lost_event_died_of_something(crash: dict[str, dict[str, Any]], target: str) -> None:
    result = crash[target]
    assert sum(result["stages"].values()) == result["counts"]["lost"]
    assert sum(result["lost_when"].values()) == result["counts"]["lost"]


@pytest.mark.parametrize("target", TARGETS)
def test_evidence_is_kept_with_time_and_value(
    crash: dict[str, dict[str, Any]], target: str
) -> None:
    evidence = crash[target]["evidence"]
    assert len({seen["source"] for seen in evidence}) >= 2
    for seen in evidence:
        assert seen["value"], seen
        assert abs(seen["at_ns"] - evidence[0]["at_ns"]) < 60e9, seen


@pytest.mark.parametrize("target", TARGETS)
def test_the_proof_of_the_ledger_costs_little(
    crash: dict[str, dict[str, Any]], target: str
) -> None:
    timings_s = crash[target]["timings_s"]
    assert 0 < timings_s["self_proof"] <= 0.05 * timings_s["total"]


@pytest.mark.parametrize("target", TARGETS)
def test_who_used_the_cpus_is_counted(crash: dict[str, dict[str, Any]], target: str) -> None:
    cpus = crash[target]["load"]["cpus"]
    servers = {"channel": set(), "kafka": {"kafka"}}.get(target, {"redis"})
    assert set(cpus) == {
        "target",
        "load",
        "harness",
        "postgres",
        "toxiproxy",
        "others",
        "idle",
        *servers,
    }
    assert all(cpus[name] > 0 for name in ("target", "load", "harness", "postgres"))
    assert sum(cpus.values()) == pytest.approx(len(os.sched_getaffinity(0)), rel=0.25)


def test_a_channel_dies_with_what_is_queued_and_in_hand(crash: dict[str, dict[str, Any]]) -> None:
    stages = crash["channel"]["stages"]
    assert set(stages) <= {"queued", "in hand"}
    assert stages["queued"] >= 495
    # What was in hand may just have been persisted.
    assert stages.get("in hand", 0) <= 5


def test_a_channel_loses_its_queue_and_its_hands(crash: dict[str, dict[str, Any]]) -> None:
    assert 495 <= crash["channel"]["counts"]["lost"] <= 540


def test_a_plain_list_loses_at_most_its_hands(crash: dict[str, dict[str, Any]]) -> None:
    assert crash["redis-list"]["counts"]["lost"] <= 5


@pytest.mark.parametrize("target", ["redis", "kafka"])
def test_durable_queues_lose_nothing(crash: dict[str, dict[str, Any]], target: str) -> None:
    assert crash[target]["counts"]["lost"] == 0
    assert crash[target]["counts"]["duplicated"] <= 5


def test_control_loses_nothing_on_each_target() -> None:
    done = lossmeter("run", "control", "--runtime", "local", "--seed", SEED, "--json", "-")
    assert done.code == 0, done.err
    results = _by_target(done.results())
    assert set(results) == set(TARGETS)
    for result in results.values():
        counts = result["counts"]
        assert counts["sent"] == counts["acked"] == counts["delivered"] == 400
        assert counts["lost"] == counts["duplicated"] == 0


def test_control_lossy_loses_exactly_the_known_number() -> None:
    done = lossmeter("run", "control-lossy", "--runtime", "local", "--seed", SEED, "--json", "-")
    assert done.code == 0, done.err
    results = _by_target(done.results())
    assert set(results) == set(TARGETS)
    for result in results.values():
        assert result["stages"] == {"given up, no dead-letter queue": 40}
        assert result["counts"]["lost"] == result["predicted"]["lost"] == 40
        assert len({seen["source"] for seen in result["evidence"] if seen["holds"]}) >= 2


def _without_judging(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out how long judging itself took, which is measured anew."""
    for result in results:
        for name in ("judge", "self_proof"):
            del result["timings_s"][name]
    return results


def test_a_run_is_judged_again_from_disk(project: Path) -> None:
    first = lossmeter(
        *("run", "control", "--target", "channel", "--runtime", "local"),
        *("--seed", SEED, "--json", "-"),
    )
    assert first.code == 0, first.err
    (folder,) = (project / "results" / "runs").iterdir()
    assert folder.name.endswith(f"-control-{SEED}")
    for name in ("environment.json", "facts.json", "journal-0.bin", "rows.npy", "probe.jsonl"):
        assert (folder / name).exists(), name
    for name in ("target.log", "postgres.log", "toxiproxy.log", "load.log"):
        assert (folder / "logs" / name).exists(), name
    (folder / "result.json").unlink()
    again = lossmeter("report", str(folder), "--json", "-")
    assert again.code == 0
    assert _without_judging(again.results()) == _without_judging(first.results())
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["servers"]["postgres"].startswith("PostgreSQL 18")
    assert environment["seed"] == int(SEED)


def test_a_run_without_its_rows_is_never_a_pass(project: Path) -> None:
    lossmeter("run", "control", "--target", "channel", "--runtime", "local")
    (folder,) = (project / "results" / "runs").iterdir()
    (folder / "rows.npy").unlink()
    assert lossmeter("report", str(folder)).code == 3
