"""The board of frameworks: what it consists of, what is made again, and what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.errors import UsageError
from lossmeter.model import Counts, Verdict
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.report.board import board_markdown
from lossmeter.report.board_view import board_view
from lossmeter.run.admission import check
from lossmeter.studies.board import BoardPlan, Kept, Promise, plan_of
from lossmeter.studies.standing import Made, State, pending, worst
from lossmeter.world.runtimes.local import RUNTIME
from tests.support.boards import kept

ABOUT = {"runtime": "local", "machine": "cores 2", "commit": "abc"}
ROWS, COLUMNS = ["celery-redis", "celery-redis-safe"], ["control", "crash-tree"]


def _plan(project: Path) -> BoardPlan:
    return plan_of(Catalogue(Project.of(project)), ROWS, COLUMNS)


def _made(plan: BoardPlan, number: int, repeat: int = 0, **counts: int) -> Made:
    entry = plan.entries[number]
    lost = counts.get("lost", 0)
    found = Counts(sent=100, acked=100, delivered=100 - lost, **counts)
    broken = lost and entry.promise.kept is Kept.AT_LEAST_ONCE
    return kept(
        entry,
        found,
        repeat=repeat,
        seed=1,
        verdict=Verdict.FAIL if broken else Verdict.PASS,
        lost_when={"before the fault": lost} if lost else {},
    )


def test_the_board_has_many_configurations_that_all_say_what_they_promise(project: Path) -> None:
    plan = plan_of(Catalogue(Project.of(project)), [], [])
    assert len(plan.targets) >= 16
    assert len(plan.columns) >= 10
    assert plan.repeats >= 3
    assert len({entry.digest for entry in plan.entries}) == len(plan.entries)
    for entry in plan.entries:
        assert not entry.promise.mended_by or entry.promise.mended_by in plan.targets
        assert entry.cell.budget is not None
        assert not entry.cell.budget.empty


def test_every_cell_can_be_run_here_or_says_why_not(project: Path) -> None:
    plan = plan_of(Catalogue(Project.of(project)), [], [])
    refused = {why for entry in plan.entries if (why := check(entry.cell, RUNTIME)) is not None}
    # What this user may not do on this machine, and what a target has no use for.
    assert not [why for why in refused if not why.startswith("fault ")]
    assert {"oom", "crash-child", "crash-main", "crash-tree"} <= set(plan.columns)


def test_an_enqueuing_process_is_struck_where_there_is_one(project: Path) -> None:
    asked = ["celery-redis", "bullmq", "pg-boss", "asynq", "river", "go-channel"]
    plan = plan_of(Catalogue(Project.of(project)), asked, ["crash-main", "crash-enqueuer"])
    struck = {entry.target for entry in plan.entries if entry.column == "crash-enqueuer"}
    assert struck == {"bullmq", "pg-boss", "asynq", "river"}
    rows = {row.name: row for row in board_view(plan, State(), ABOUT).rows}
    assert [cell.cost for cell in rows["bullmq"].cells] == ["–", "–"]
    assert [cell.cost for cell in rows["celery-redis"].cells] == ["–", "none"]
    # A column that asks nothing of a configuration keeps it from no choice.
    state = State()
    for number, entry in enumerate(plan.entries):
        if entry.target == "celery-redis":
            state.add(_made(plan, number))
    no_loss, *_ = board_view(plan, state, ABOUT).choices
    assert no_loss.rows == ("celery-redis",)


def test_who_outlived_a_limit_is_told_from_who_lost_nothing(project: Path) -> None:
    plan, state = plan_of(Catalogue(Project.of(project)), ["arq"], ["oom"]), State()
    state.add(_made(plan, 0).model_copy(update={"survived": True}))
    assert "| arq | 0, lived |" in " ".join(board_markdown(board_view(plan, state, ABOUT)).split())
    # One that was ended decides the cell.
    state.add(_made(plan, 0, 1, lost=3))
    (row,) = board_view(plan, state, ABOUT).rows
    assert row.cells[0].cost == "lost 3"


def test_what_changes_is_made_again_and_nothing_else_is(project: Path) -> None:
    plan, state = _plan(project), State()
    assert len(pending(plan, state)) == 4 * plan.repeats
    for number in range(4):
        for repeat in range(plan.repeats):
            state.add(_made(plan, number, repeat))
    assert not pending(plan, state)
    tasks = project / "targets" / "frameworks" / "celery-redis" / "tasks.py"
    before = tasks.read_text(encoding="utf-8")
    tasks.write_text(f"# What a comment says changes no run.\n\n{before}", encoding="utf-8")
    assert not pending(_plan(project), state)
    tasks.write_text(f"{before}\nMORE = 1\n", encoding="utf-8")
    assert len(pending(_plan(project), state)) == 4 * plan.repeats
    tasks.write_text(before, encoding="utf-8")
    crash = project / "experiments" / "board" / "board-crash-tree.toml"
    crash.write_text(crash.read_text(encoding="utf-8") + "[settings]\n", encoding="utf-8")
    again = pending(_plan(project), state)
    assert {entry.column for _, entry in again} == {"crash-tree"}
    saved = project / "board.json"
    saved.write_text(state.model_dump_json(), encoding="utf-8")
    assert State.load(saved) == state
    # A run that takes the place of one of before is not kept beside it.
    state.add(_made(_plan(project), 1))
    assert len(state.made) == 4 * plan.repeats


def test_each_cell_is_made_once_before_any_is_made_twice(project: Path) -> None:
    plan = _plan(project)
    order = [repeat for repeat, _ in pending(plan, State())]
    assert order == sorted(order)


def test_the_worst_of_the_repeats_is_shown_with_what_is_broken(project: Path) -> None:
    plan, state = _plan(project), State()
    for run in (
        _made(plan, 0),
        _made(plan, 1, 0),
        _made(plan, 1, 1, lost=25),
        _made(plan, 2),
        _made(plan, 3, lost=2, duplicated=3),
    ):
        state.add(run)
    page = " ".join(board_markdown(board_view(plan, state, ABOUT)).split())
    assert "| celery-redis | 0 | lost 25 |" in page
    assert "| celery-redis-safe | 0 | lost 2, twice 3 ✗ |" in page
    assert "mended by celery-redis-safe (Celery on Redis: acks_late" in page
    assert ": lost 2, twice 3 there" in page
    assert "25 before the fault" in page
    assert "loses nothing: none of them" in page
    assert "control on celery-redis: 2 runs" in page
    assert "written at commit: abc" in page
    assert str(project) not in page


def test_a_run_that_was_not_judged_counts_for_nothing(project: Path) -> None:
    plan, state = _plan(project), State()
    for number in range(4):
        run = _made(plan, number)
        state.add(run.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": "starved"}))
    assert worst(state.made) is None
    assert len(pending(plan, state)) == 4 * plan.repeats
    page = " ".join(board_markdown(board_view(plan, state, ABOUT)).split())
    assert "control on celery-redis: inconclusive: starved" in page
    assert page.count("none of them") == 3


def test_nothing_is_chosen_where_a_cell_is_missing(project: Path) -> None:
    plan, state = _plan(project), State()
    state.add(_made(plan, 1))
    page = " ".join(board_markdown(board_view(plan, state, ABOUT)).split())
    assert "loses nothing: celery-redis." in page
    assert "celery-redis-safe" not in page.split("Choose by")[1].split("## What is promised")[0]


@pytest.mark.parametrize(
    ("kept", "lost", "duplicated", "stranded"),
    [
        (Kept.AT_LEAST_ONCE, 0, None, 0),
        (Kept.AT_MOST_ONCE, None, 0, 1_000_000),
        (Kept.NOTHING, 1_000_000, None, 1_000_000),
    ],
)
def test_a_promise_becomes_a_budget(
    project: Path, kept: Kept, lost: int | None, duplicated: int | None, stranded: int
) -> None:
    plan = plan_of(Catalogue(Project.of(project)), ["arq", "go-channel", "go-drain"], ["control"])
    arq, channel, drain = (
        entry.cell.target for entry in sorted(plan.entries, key=lambda e: e.target)
    )
    promise = Promise(kept=kept, says="so", source="there")
    budget = promise.budget("crash-tree", arq)
    assert (budget.max_lost, budget.max_duplicated) == (lost, duplicated)
    assert (budget.max_stranded, budget.max_dead_lettered) == (stranded, None)
    # A bound on what a target does not show would leave each of its runs inconclusive.
    bare = promise.budget("crash-tree", channel)
    assert (bare.max_pending, bare.max_stranded, bare.max_dead_lettered) == (None, None, None)
    assert promise.budget("crash-tree", drain).max_dead_lettered == 1_000_000
    control = promise.budget("control", arq)
    assert (control.max_lost, control.max_duplicated, control.max_stranded) == (0, 0, None)


def test_what_the_board_does_not_have_is_named(project: Path) -> None:
    catalogue = Catalogue(Project.of(project))
    with pytest.raises(UsageError, match="configuration of the board 'celery' does not exist"):
        plan_of(catalogue, ["celery"], [])
    with pytest.raises(UsageError, match="experiment of the board 'crash' does not exist"):
        plan_of(catalogue, [], ["crash"])
    promises = project / "targets" / "frameworks" / "huey" / "promises.toml"
    promises.write_text("[other]\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"promises.toml says nothing of huey"):
        plan_of(catalogue, ["huey"], [])
    promises.write_text('[huey]\nkept = "always"\n', encoding="utf-8")
    with pytest.raises(UsageError, match="huey: kept: Input should be 'at least once'"):
        plan_of(catalogue, ["huey"], [])


def test_what_no_board_wrote_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="is not what keeps runs; remove it"):
        State.load(tmp_path / "board.json")
