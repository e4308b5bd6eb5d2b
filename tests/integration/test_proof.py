"""Repeats, seeds, the search for losing moments and the worth of a yes, on real servers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lossmeter.record.journals import read_journals
from tests.support.program import lossmeter

PLANTED = Path(__file__).resolve().parents[1] / "planted"
LOCAL = ("--runtime", "local", "--json", "-")
SEED = "20261124"


def _sent(folder: Path) -> np.ndarray:
    """Return what was sent, and when it was due after the first event."""
    intents = read_journals(folder).intents
    intents = intents[np.lexsort((intents["sequence"], intents["producer"]))]
    intents["scheduled_ns"] -= intents["scheduled_ns"].min()
    return intents[["producer", "sequence", "scheduled_ns", "payload_hash"]]


def test_repeats_are_summed_up_and_the_same_seed_sends_the_same(project: Path) -> None:
    ask = ("run", "control", "--target", "channel", *LOCAL, "--seed", SEED)
    done = lossmeter(*ask, "--until-decided", "--repeat", "2")
    # Two runs without a loss do not decide it, and what is not decided is no pass.
    assert done.code == 7, done.err
    reported = json.loads(done.out)
    first, second = reported["runs"]
    (summary,) = reported["summary"]
    assert (summary["runs"], summary["judged"], summary["lossy"]) == (2, 2, 0)
    assert summary["decision"] == "undecided"
    assert "error rate 5%" in summary["test"]
    assert summary["seeds"] == [int(SEED), second["seed"]]
    assert first["seed"] == first["root_seed"] == second["root_seed"] == int(SEED)
    assert second["seed"] != int(SEED)
    assert first["timings_s"]["self_proof"] <= 0.05 * first["timings_s"]["total"]
    (again,) = lossmeter(*ask).results()
    runs = project / "results" / "runs"
    one, other = _sent(runs / first["run_id"]), _sent(runs / second["run_id"])
    assert (one == _sent(runs / again["run_id"])).all()
    assert (one["payload_hash"] != other["payload_hash"]).any()


def test_an_acknowledgement_before_the_insert_is_found_and_named(project: Path) -> None:
    target = project / "planted.toml"
    text = (PLANTED / "redis-early-ack.toml").read_text()
    target.write_text(text.replace("tests/planted/early_ack.py", str(PLANTED / "early_ack.py")))
    done = lossmeter("search", "crash", "--target", str(target), "--step", "dequeued", *LOCAL)
    assert done.code == 1, done.err
    (reported,) = json.loads(done.out)
    steps = {found["step"]: found for found in reported["steps"]}
    # Workers in step may all have just inserted: then it is aimed once more.
    assert steps["dequeued"]["hits"] >= 1
    assert steps["dequeued"]["lost"] >= 1
    assert any(
        line.startswith("dequeued: loses") and "acknowledged to the queue before" in line
        for line in reported["findings"]
    )
    # At that moment what is in hand may just have been persisted; the next time it is not.
    for _ in range(6):
        again = lossmeter("run", reported["smallest"], *LOCAL)
        if again.code == 1:
            break
    assert again.code == 1, again.err
    (result,) = again.results()
    # Whether it had been marked as taken when it was acknowledged depends on the moment.
    assert sum(result["stages"].values()) == result["counts"]["lost"] >= 1
    assert set(result["stages"]) <= {"queued", "in hand"}


@pytest.mark.usefixtures("project")
def test_the_worth_of_a_yes_is_measured() -> None:
    done = lossmeter("durability", "--target", "channel", "--fault", "SIGKILL", *LOCAL)
    assert done.code == 0, done.err
    (worth,) = json.loads(done.out)
    window = worth["windows"]["SIGKILL"]
    assert 200 <= window["lost"] <= 260
    # A backlog of 200 at the end of 2 s: half of what came is done, and the oldest that is
    # left came in the middle.
    assert 700 <= window["volatile_ms"] <= 3000
