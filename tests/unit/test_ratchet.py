"""Budgets are tightened by what runs needed, and never loosened."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.experiment import Experiment, Variant, steady
from lossmeter.model import Counts, Predicted, Verdict
from lossmeter.plan.budget import Budget, Budgets
from lossmeter.record.result import Result
from lossmeter.studies.ratchet import Terms, plan, tightened
from tests.support.recorded_runs import plain_budgets, record
from tests.support.typed import typed

TERMS = Terms(margin=0.2, min_runs=3)
EXPERIMENT = Experiment(
    "crash", "h", (Variant("", steady(1, 1)),), ("channel", "redis"), lambda _: Predicted()
)
VARIANTS = {"crash": (EXPERIMENT, EXPERIMENT.variants[0])}


def a_run(target: str = "channel", verdict: str = "pass", **changes: object) -> Result:
    counts = Counts(**{"sent": 1000, "acked": 1000, "lost": 10} | changes.pop("counts", {}))  # type: ignore[arg-type,operator]
    reported: dict[str, object] = {
        "run_id": "r",
        "experiment": "crash",
        "hypothesis": "h",
        "target": target,
        "ack_level": "enqueued",
        "runtime": "local",
        "seed": 1,
        "verdict": verdict,
        "reason": "",
        "counts": counts,
        "recovery_s": 1.0,
    }
    return Result.model_validate(reported | changes)


def budgets(**tables: dict[str, float | str]) -> Budgets:
    return Budgets({"crash": tables}, Path("budgets.toml"))


def new_bounds(results: list[Result], own: Budgets, terms: Terms = TERMS) -> dict[str, float]:
    return {change.bound: change.new for change in plan(results, own, VARIANTS, terms).changes}


def test_each_bound_is_the_worst_run_with_its_margin() -> None:
    own = budgets(
        channel={"max_lost": 500, "max_loss_ratio": 0.5, "max_duplicated": 9, "recovery_s_max": 10}
    )
    runs = [a_run(recovery_s=s, counts={"lost": n}) for s, n in ((1.01, 10), (0.5, 5), (0.2, 0))]
    assert new_bounds(runs, own) == {
        "max_lost": 12,
        "max_loss_ratio": 0.012,
        "max_duplicated": 0,
        "recovery_s_max": 1.3,
    }


def test_a_variant_waits_for_its_own_targets_only() -> None:
    variant = Variant("slow", steady(1, 1), targets=("channel",))
    experiment = Experiment("crash", "h", (variant,), ("channel", "redis"), lambda _: Predicted())
    own = budgets(slow={"default": {"max_lost": 500}})  # type: ignore[dict-item]
    runs = [a_run(experiment="crash-slow")] * 3
    made = plan(runs, own, {"crash-slow": (experiment, variant)}, TERMS)
    assert [(change.path, change.new) for change in made.changes] == [
        (("crash", "slow", "default"), 12)
    ]
    assert not made.kept


def test_a_bound_that_is_not_there_is_not_added() -> None:
    assert new_bounds([a_run()] * 3, budgets(channel={"max_lost": 500})) == {"max_lost": 12}


def test_a_bound_is_never_loosened() -> None:
    assert new_bounds([a_run()] * 3, budgets(channel={"max_lost": 11})) == {}


@given(st.integers(0, 2000), st.lists(st.integers(0, 1000), min_size=3), st.floats(0, 10))
def test_nothing_is_ever_loosened_nor_below_what_was_measured(
    old: int, lost: list[int], margin: float
) -> None:
    runs = [a_run(counts={"lost": n}) for n in lost]
    found = new_bounds(runs, budgets(channel={"max_lost": old}), Terms(margin, 3))
    if found:
        assert max(lost) <= found["max_lost"] < old


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([a_run()] * 2, "2 conclusive runs of channel on runtime local, 3 are needed"),
        (
            [a_run()] * 2 + [a_run(verdict="inconclusive")] * 5 + [a_run(verdict="error")] * 5,
            "2 conclusive runs of channel",
        ),
        ([a_run()] * 3 + [a_run(verdict="fail")], "1 of 4 runs fail"),
        ([a_run()] * 3 + [a_run(runtime="docker")], "1 conclusive runs of channel on runtime dock"),
        ([a_run(counts={"lost": 500})] * 3, "the runs need what it allows"),
        ([a_run(not_measured=["lost"])] * 3, "the runs need what it allows"),
    ],
)
def test_a_budget_is_kept_when_too_little_is_known(runs: list[Result], why: str) -> None:
    found = plan(runs, budgets(channel={"max_lost": 500}), VARIANTS, TERMS)
    assert found.changes == ()
    ((name, reason),) = found.kept
    assert name == "crash.channel"
    assert why in reason


def test_a_budget_for_all_targets_needs_runs_of_each() -> None:
    own = budgets(default={"max_lost": 500})
    assert new_bounds([a_run()] * 3, own) == {}
    assert new_bounds([a_run()] * 3 + [a_run("redis", counts={"lost": 50})] * 3, own) == {
        "max_lost": 60
    }
    with_own = budgets(default={"max_lost": 500}, redis={"max_lost": 0})
    assert new_bounds([a_run()] * 3, with_own) == {"max_lost": 12}


def test_comments_and_order_outlive_the_change() -> None:
    text = (
        "# why\n[crash.channel] # memory\nmax_duplicated = 0\n"
        "max_lost = 500 # 500 queued\n\n[crash.redis]\nmax_lost = 500\n"
    )
    runs = [a_run()] * 3
    own = Budgets(tomllib.loads(text), Path("budgets.toml"))
    assert tightened(text, plan(runs, own, VARIANTS, TERMS).changes) == text.replace(
        "max_lost = 500 #", "max_lost = 12 #"
    )


def _five(project: Path) -> Path:
    for second in range(5):
        record(project, f"2026010{second + 1}T000000Z-crash-1", lost=2, budget=Budget(max_lost=515))
    return project / "experiments" / "budgets.toml"


def test_the_command_shows_and_writes_the_difference(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _five(project)
    # Hand-written runs are small: only the bounds on costs matter here.
    before = file.read_text().replace("min_sent = 1800\nmin_acked = 1000\n", "")
    predicted = '[crash.channel]\nmax_lost = "predicted"'
    assert predicted in before
    before = before.replace(predicted, "[crash.channel]\nmax_lost = 515")
    file.write_text(before)
    dry = typed(capsys, "budget", "ratchet", "--dry-run")
    assert dry.code == 0
    assert "-max_lost = 515\n+max_lost = 3\n" in dry.out
    assert file.read_text() == before
    wet = typed(capsys, "budget", "ratchet")
    assert wet.out == dry.out
    assert "from runs on runtime local only" in wet.err
    after = file.read_text()
    assert tomllib.loads(after)["crash"]["channel"]["max_lost"] == 3
    assert [line for line in after.splitlines() if line.startswith("#")] == [
        line for line in before.splitlines() if line.startswith("#")
    ]
    again = typed(capsys, "budget", "ratchet")
    assert again.code == 0
    assert "no budget can be tightened" in again.err
    assert file.read_text() == after


def test_a_bound_of_what_is_predicted_is_left_as_it_is() -> None:
    assert new_bounds([a_run()] * 3, budgets(channel={"max_lost": "predicted"})) == {}


def test_without_runs_nothing_is_known(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = typed(capsys, "budget", "ratchet")
    assert done.code == 5
    assert "nothing was judged" in done.err
    record(project, "20260101T000000Z-crash-1", settled=False)
    assert typed(capsys, "budget", "ratchet", "--min-runs", "1").code == 5


def test_verdicts_that_count_are_those_of_the_budgets_as_they_are(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _five(project)
    file.write_text("[crash.channel]\nmax_lost = 1\nmax_duplicated = 9\n")
    done = typed(capsys, "budget", "ratchet")
    assert "5 of 5 runs fail" in done.err
    assert Verdict.FAIL == "fail"
    assert "max_duplicated = 9" in file.read_text()


@pytest.mark.parametrize("name", ["own-kill", "own-kill-while-full"])
def test_a_budget_of_an_experiment_given_by_its_path_is_tightened(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = project / "experiments" / "budgets.toml"
    place = name.replace("own-kill-", "own-kill.")
    file.write_text(f"[{place}.default]\nmax_lost = 500 # of 500 queued\n")
    for day in range(5):
        record(project, f"2026010{day + 1}T000000Z-{name}-1", lost=2, experiment=name)
    done = typed(capsys, "budget", "ratchet")
    assert done.code == 0, done.err
    assert file.read_text() == f"[{place}.default]\nmax_lost = 3 # of 500 queued\n"
    file.write_text(f"[{place}.default]\nmax_lost = 500\n")
    assert "4 conclusive runs of" in typed(capsys, "budget", "ratchet", *_names(project)[1:]).err


def _names(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "results" / "runs").iterdir())


def test_of_a_budget_that_is_in_no_file_one_sentence_tells(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _five(project)
    plain_budgets(project)
    for day in range(5):
        record(project, f"2026020{day + 1}T000000Z-own-kill-1", lost=2, experiment="own-kill")
    said = (
        "own-kill on channel has no budget in experiments/budgets.toml; put [own-kill.channel] "
        "there to have it tightened"
    )
    every = typed(capsys, "budget", "ratchet", "--dry-run")
    assert (every.code, said in every.err) == (0, True)
    done = typed(capsys, "budget", "ratchet", *_names(project)[5:])
    assert done.code == 4
    assert done.err.splitlines() == [f"error: {said}"]
