"""``lossmeter results`` as a whole, with runs written by hand in the place of those it makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from lossmeter.commands import results
from lossmeter.errors import ExitCode, InterruptedRunError, UsageError
from lossmeter.report.words import minutes
from lossmeter.studies.pages import FILE
from tests.support.pages import squeezed
from tests.support.swept import TOOK_S, Runs, stand_in

TARGETS = ["channel", "redis"]


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    bounds = "[{}.default]\nmax_lost = 100\n"
    budgets = "".join(map(bounds.format, ("drain", "drain.kubelet", "broker-down")))
    (project / "experiments" / "budgets.toml").write_text(budgets, encoding="utf-8")
    return stand_in(project, monkeypatch)


def stopped_after(runs: Runs, most: int) -> None:
    def ends(*_: object) -> BaseException | None:
        return InterruptedRunError("faults healed") if len(runs.names) == most else None

    runs.ends = ends


def page(project: Path) -> str:
    return squeezed((project / "results" / "README.md").read_text(encoding="utf-8"))


def test_three_runs_a_cell_become_pages_that_say_what_they_rest_on(
    runs: Runs, project: Path
) -> None:
    results.command(experiment=["drain"], target=TARGETS, runtime="local")
    assert len(runs.made()) == 3 * 2 * len(TARGETS)
    assert "| drain | 40–42 | 0 |" in page(project)
    assert "--target redis --runtime local --seed 1 --repeat 3`" in page(project)
    assert "made of 3 runs" in page(project)
    assert f"from runs that took {minutes(12 * TOOK_S)} together" in page(project)
    assert "at once:" not in page(project)
    saved = json.loads((project / "results" / FILE).read_text(encoding="utf-8"))
    assert set(saved) == {"README.md", *results.FILES}
    assert "experiments/drain.py" in saved["README.md"]["files"]
    assert (project / "results" / "matrix.html").is_file()


def test_an_interrupt_writes_the_tables_of_what_there_is(runs: Runs, project: Path) -> None:
    stopped_after(runs, 3)
    with pytest.raises(InterruptedRunError):
        results.command(experiment=["drain"], target=TARGETS, runtime="local", repeat=2)
    assert "3 runs:" in page(project)
    assert "| drain-kubelet | 40 | *not measured: interrupted* |" in page(project)
    assert "drain-kubelet on redis: it was interrupted" in page(project)
    assert "drain on redis: 1 of 2 runs: it was interrupted" in page(project)


def test_an_interrupt_before_the_first_run_writes_nothing(runs: Runs, project: Path) -> None:
    stopped_after(runs, 0)
    with pytest.raises(InterruptedRunError):
        results.command(experiment=["drain"], target=TARGETS, runtime="local")
    assert not (project / "results" / "README.md").exists()


def test_where_nothing_can_be_run_nothing_was_judged(runs: Runs) -> None:
    with pytest.raises(typer.Exit) as ended:
        results.command(experiment=["broker-partition"], target=["channel"], runtime="local")
    assert ended.value.exit_code == ExitCode.NOTHING_JUDGED
    assert not runs.made()


def test_one_run_that_exists_is_a_page_with_a_reason_in_each_other_cell(
    runs: Runs, project: Path
) -> None:
    run = runs.one("broker-down", "redis")
    results.command(run=[Path(run.run_id)])
    table = page(project)
    assert "1 run: 1 " in table
    assert "| broker-down | 0 | *not measured* | *not measured* |" in table
    assert "*no acks*" in table
    assert "broker-down-no-acks on redis: target redis has no setting acks" in table
    # Nobody can say which code made it.
    assert json.loads((project / "results" / FILE).read_text(encoding="utf-8")) == {}


def test_runs_are_taken_as_they_are(runs: Runs) -> None:
    run = runs.one("drain", "redis")
    with pytest.raises(UsageError, match="taken as they are"):
        results.command(run=[Path(run.run_id)], target=["redis"])
