"""What ``lossmeter results`` takes of runs that stand already, and what it makes again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from lossmeter.commands import _turns, results
from lossmeter.commands._side_by_side import SideBySide
from lossmeter.commands._turns import Turns
from lossmeter.commands._worker import RunRequest
from lossmeter.errors import ExitCode, InterruptedRunError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.record.facts import Facts
from lossmeter.record.result import Result
from lossmeter.studies import digest, standing
from lossmeter.studies.reference import SHOWN, STATE, How, alone, kept_plan, planned
from lossmeter.world.runtimes.docker import RUNTIME as DOCKER
from lossmeter.world.runtimes.local import RUNTIME as LOCAL
from tests.support.pages import squeezed
from tests.support.resealed import resealed, unsealed
from tests.support.slots import CATALOGUE, MANY, Process, Processes
from tests.support.swept import TOOK_S, Runs, stand_in

CELLS = [
    ("crash", "channel"),
    ("crash", "redis"),
    ("crash-full", "channel"),
    ("crash-full", "redis"),
]
ALL = [(*cell, repeat) for repeat in range(2) for cell in CELLS]


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    bounds = "[{}.default]\nmax_lost = 100\n"
    names = ("crash", "crash.full", "control", "drain", "drain.kubelet")
    budgets = "".join(map(bounds.format, names))
    (project / "experiments" / "budgets.toml").write_text(budgets, encoding="utf-8")
    return stand_in(project, monkeypatch)


def made(runs: Runs, **more: Any) -> list[tuple[str, str, int]]:
    """Call the command; return what it made."""
    given: dict[str, Any] = {"experiment": ["crash"], "target": ["channel", "redis"]}
    results.command(**(given | {"runtime": "local", "repeat": 2} | more))
    return runs.made()


def code_of(runs: Runs, **more: Any) -> int:
    """Call the command; return its exit code."""
    try:
        made(runs, **more)
    except typer.Exit as ended:
        return ended.exit_code
    return ExitCode.WITHIN_BUDGET


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def folder_of(project: Path, place: int) -> Path:
    """Return the folder of a run that is kept, by its place in the state."""
    return project / "results" / "runs" / state(project)[place]["run_id"]


def state(project: Path) -> list[dict[str, Any]]:
    saved = json.loads((project / "results" / STATE).read_text(encoding="utf-8"))
    runs: list[dict[str, Any]] = saved["made"]
    return runs


def page(project: Path) -> str:
    return squeezed((project / "results" / "README.md").read_text(encoding="utf-8"))


def test_what_was_made_is_not_made_again_and_the_page_is_the_same(
    runs: Runs, project: Path
) -> None:
    assert made(runs) == ALL
    first = page(project)
    assert made(runs) == []
    assert page(project) == first
    # Another repeat is made beside those, and of fewer the tables have no more than was asked.
    assert made(runs, repeat=3) == [(*cell, 2) for cell in CELLS]
    assert "made of 3 runs" in page(project)
    assert made(runs) == []
    assert page(project) == first


def test_what_was_interrupted_goes_on_where_it_was(runs: Runs, project: Path) -> None:
    runs.ends = lambda *_: InterruptedRunError("healed") if len(runs.names) == 3 else None
    with pytest.raises(InterruptedRunError):
        made(runs)
    assert runs.made() == ALL[:3]
    assert "it was interrupted" in page(project)
    runs.ends = lambda *_: None
    assert made(runs) == ALL[3:]
    assert "interrupted" not in page(project)
    assert f"{len(ALL)} runs: " in page(project)
    assert f"runs that took {len(ALL) * TOOK_S / 60:.0f} min" in page(project)


def test_a_kill_loses_no_run_but_the_one_in_progress(runs: Runs, project: Path) -> None:
    class KilledError(BaseException):
        """Ends everything at once, as nothing but a kill does."""

    runs.ends = lambda *_: KilledError() if len(runs.names) == 3 else None
    with pytest.raises(KilledError):
        made(runs)
    assert not (project / "results" / "README.md").exists()
    assert len(state(project)) == 3
    runs.made()
    runs.ends = lambda *_: None
    assert made(runs) == ALL[3:]


def test_no_time_at_all_writes_the_tables_of_what_stands(runs: Runs, project: Path) -> None:
    assert code_of(runs, within_min=0) == ExitCode.NOTHING_JUDGED
    assert not (project / "results" / "README.md").exists()
    assert code_of(runs, target=["redis"], repeat=1) == ExitCode.WITHIN_BUDGET
    runs.made()
    assert code_of(runs, within_min=0) == ExitCode.INCONCLUSIVE
    assert runs.made() == []
    assert "| crash | 0 | *not measured: time was up* |" in page(project)
    assert "crash on redis: 1 of 2 runs: the time was up" in page(project)
    assert "--target channel --target redis --runtime local --seed 1 --repeat 2`" in page(project)


def test_a_changed_experiment_or_target_is_made_again_and_no_other(
    runs: Runs, project: Path
) -> None:
    both = ["crash", "drain"]
    made(runs, experiment=both)
    change(project / "experiments" / "crash.py", "from ", "# Why.\nfrom ")
    change(project / "targets" / "redis.toml", "name =", "# Why.\nname =")
    assert made(runs, experiment=both) == []
    change(project / "experiments" / "crash.py", "SETTINGS = ", "MORE = 1\nSETTINGS = ")
    assert {name for name, _, _ in made(runs, experiment=both)} == {"crash", "crash-full"}
    change(project / "targets" / "redis.toml", 'summary = "', 'summary = "A ')
    assert {target for _, target, _ in made(runs, experiment=both)} == {"redis"}
    dispatcher = project / "targets" / "dispatcher" / "lossmeter_dispatcher"
    (dispatcher / "more.py").write_text("MORE = 1\n", encoding="utf-8")
    assert {target for _, target, _ in made(runs, experiment=both)} == {"channel", "redis"}


def test_a_target_that_another_extends_is_a_part_of_it(runs: Runs, project: Path) -> None:
    made(runs, target=["redis-batch", "channel"])
    change(project / "targets" / "redis.toml", 'summary = "', 'summary = "A ')
    again = made(runs, target=["redis-batch", "channel"])
    assert {target for _, target, _ in again} == {"redis-batch"}


def test_what_other_code_made_is_made_again(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    made(runs)
    monkeypatch.setattr(digest, "_code", lambda: "other")
    assert made(runs) == ALL


def test_another_seed_or_kind_of_servers_is_made_for_itself(runs: Runs) -> None:
    made(runs)
    assert made(runs, seed=2) == ALL
    assert made(runs, seed=2) == []
    assert made(runs, seed=2, fresh_servers=True) == ALL


def test_what_another_runtime_made_counts_for_none(project: Path) -> None:
    catalogue = Catalogue(Project.of(project))
    plan = planned(catalogue, ["crash"], ["channel"], LOCAL)
    entries = [
        kept_plan(catalogue, plan, How(runtime, 1, fresh_servers=False), 1).entries
        for runtime in (LOCAL, DOCKER)
    ]
    assert not {each.digest for each in entries[0]} & {each.digest for each in entries[1]}


def test_all_are_made_again_where_that_is_asked(runs: Runs) -> None:
    made(runs)
    assert made(runs, again=True) == ALL
    assert made(runs) == []


def test_a_run_whose_folder_is_gone_is_made_again(
    runs: Runs, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(runs)
    shutil.rmtree(folder_of(project, 5))
    assert made(runs) == [ALL[5]]
    said = capsys.readouterr().err
    assert "not taken, since its folder is gone: crash on redis, repeat 2" in said


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda f: (f / "journal-0.bin").write_bytes(b""), "altered since it was recorded"),
        (lambda f: (f / "manifest.json").unlink(), "altered since it was recorded"),
        (lambda f: (f / "facts.json").write_text("{", encoding="utf-8"), "damaged"),
        (unsealed, "not what it left"),
    ],
)
def test_a_folder_that_was_altered_is_never_taken(
    runs: Runs, project: Path, capsys: pytest.CaptureFixture[str], damage: Any, why: str
) -> None:
    made(runs)
    damage(folder_of(project, 1))
    assert made(runs) == [ALL[1]]
    assert why in capsys.readouterr().err
    assert made(runs) == []


def test_a_folder_that_was_sealed_anew_is_not_what_the_run_left(runs: Runs, project: Path) -> None:
    made(runs)
    folder = folder_of(project, 0)
    facts = Facts.load(folder)
    facts.events_planned += 1
    facts.save(folder)
    resealed(folder)
    assert made(runs) == [ALL[0]]


def test_a_folder_of_another_run_is_not_taken_for_it(
    runs: Runs, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(runs)
    mine, others = folder_of(project, 0), folder_of(project, 1)
    shutil.rmtree(mine)
    shutil.copytree(others, mine)
    assert made(runs) == [ALL[0]]
    assert "its folder holds another run" in capsys.readouterr().err


def test_what_is_altered_is_not_shown_where_there_is_no_time_to_make_it_again(
    runs: Runs, project: Path
) -> None:
    made(runs, target=["redis"], repeat=1)
    (folder_of(project, 0) / "journal-0.bin").write_bytes(b"")
    assert code_of(runs, target=["redis"], repeat=1, within_min=0) == ExitCode.INCONCLUSIVE
    assert "crash on redis: the time was up" in page(project)


def test_a_run_that_was_not_judged_is_made_again(runs: Runs, project: Path) -> None:
    made(runs)
    kept = standing.State.load(project / "results" / STATE)
    kept.made[2].verdict = standing.Verdict.INCONCLUSIVE
    (project / "results" / STATE).write_text(kept.model_dump_json(), encoding="utf-8")
    assert code_of(runs, within_min=0) == ExitCode.INCONCLUSIVE
    assert made(runs) == [ALL[2]]


def test_a_run_that_says_nothing_by_the_budgets_of_now_is_told_by_the_exit_code(
    runs: Runs, project: Path
) -> None:
    assert code_of(runs) == ExitCode.WITHIN_BUDGET
    (project / "experiments" / "budgets.toml").write_text(
        "[crash.default]\nmin_sent = 9999\n", encoding="utf-8"
    )
    runs.made()
    assert code_of(runs) == ExitCode.INCONCLUSIVE
    assert runs.made() == []


# Side by side.


def test_what_the_page_shows_a_rate_or_p99_of_runs_alone(project: Path) -> None:
    catalogue = Catalogue(Project.of(project))
    names = ["control", "rates", "crash", "grace", "oom", "burst", "db-latency"]
    why = alone(catalogue, planned(catalogue, names, [], LOCAL), LOCAL)
    assert why["control", "channel"] == SHOWN
    # It has no remedy, and is the zero of the others.
    assert why["control", "redis"] == SHOWN
    assert "what the machine can do" in why["rates-100", "redis"]
    assert "fault oom" in why["oom", "channel"]
    # A rate is predicted of it, and so shown beside the measured one.
    assert why["burst", "kafka"] == SHOWN
    assert ("crash", "redis") not in why
    assert ("grace-1s", "redis") not in why


def test_remedies_and_what_they_mend_run_alone(project: Path) -> None:
    catalogue = Catalogue(Project.of(project))
    why = alone(catalogue, planned(catalogue, ["drain"], [], LOCAL), LOCAL)
    assert {target for name, target in why if name == "drain"} == {"channel", "channel-drain"}
    assert set(why.values()) == {SHOWN}


def test_side_by_side_each_missing_run_is_made_once_and_those_of_control_alone(
    runs: Runs, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"experiment": ["crash", "control"], "repeat": 1}
    made(runs, experiment=["crash"], target=["redis"], repeat=1)

    def run(process: Process, request: RunRequest) -> Result:
        cells = process.start.asked.wanted(CATALOGUE, print).cells
        cell = cells[request.cell]
        assert (cell.name, cell.target.name) == (request.experiment, request.target)
        return runs.one(request.experiment, request.target, at_once=request.at_once)

    processes = Processes(run)
    monkeypatch.setattr(SideBySide.__init__, "__defaults__", (Turns(lambda: MANY), processes))
    monkeypatch.setattr(_turns, "SPAN_S", 0.0)
    made(runs, **asked, jobs="2")
    assert sorted(processes.made()) == [
        ("control", "channel", "", 1),
        ("control", "redis", "", 1),
        ("crash", "channel", "", 2),
        ("crash-full", "channel", "", 2),
    ]
    assert "2 runs were made up to 2 at once" in page(project)
    assert made(runs, **asked) == []


def test_a_run_made_beside_others_is_no_run_of_a_cell_that_is_alone(
    runs: Runs, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = runs.one
    monkeypatch.setattr(runs, "one", lambda *given: one(*given, at_once=2))
    made(runs, experiment=["crash", "control"], repeat=1)
    assert "4 runs were made up to 2 at once" not in page(project)
    assert "6 runs were made up to 2 at once" in page(project)
    assert "| made | up to 2 at once |" in page(project)
    monkeypatch.setattr(runs, "one", one)
    again = made(runs, experiment=["crash", "control"], repeat=1)
    assert again == [("control", "channel", 0), ("control", "redis", 0)]
    assert "not taken, since it was made beside others: control on" in capsys.readouterr().err
    assert "4 runs were made up to 2 at once" in page(project)
    assert "stands on this page had it alone" in page(project)
