"""The search for losing moments, with runs that are written down instead of made."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.commands.search import _code
from lossmeter.errors import ExitCode, UsageError
from lossmeter.experiment import STEPS, Experiment
from lossmeter.plan.behaviour import Behaviour
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.report.search import search_page
from lossmeter.studies.found import Found, Report, Schedule, findings, instant
from lossmeter.studies.search import BOUNDS, LOAD_S, Search, aimed, check, save
from tests.support.judged_runs import a_result
from tests.support.pages import squeezed


def _cell(target: str = "redis-list") -> Cell:
    catalogue = Catalogue.here()
    return cells(catalogue, catalogue.experiment("crash"), [target], [])[0]


def _aimed(step: str) -> Cell:
    cell = _cell()
    return aimed(cell, step, cell.variant.load, 7, 20)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_is_aimed_at_each_step(step: str) -> None:
    cell = _aimed(step)
    (fault,) = cell.variant.faults
    assert (fault.fault, fault.trigger.step, fault.trigger.after) == ("sigkill", step, 7)
    assert cell.variant.settings["capacity"] == 20
    assert cell.variant.settings["workers"] == 5
    assert cell.budget is not None
    assert cell.budget.max_lost == 0


def test_what_was_found_can_be_loaded_and_run_again(tmp_path: Path) -> None:
    cell = _aimed("dequeued")
    asked = Search(
        _cell(), "redis-list", 1, lambda *_: a_result("fail"), tmp_path, tmp_path / "found", 9
    )
    file = save(asked, cell, "dequeued", 5)
    again: Experiment = Catalogue.here().experiment(str(file))
    assert again.name == cell.experiment.name
    assert again.bounds == BOUNDS
    (variant,) = again.variants
    assert variant.load == cell.variant.load
    assert variant.settings == dict(cell.variant.settings)
    assert variant.faults[0].trigger.step == "dequeued"
    (found,) = cells(Catalogue.here(), again, [], [])
    assert found.budget == cell.budget
    assert found.target.name == "redis-list"


def test_an_experiment_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Catalogue.here().experiment(str(tmp_path / "gone.py"))


def test_a_target_without_marks_cannot_be_searched() -> None:
    cell = _cell()
    blind = Cell(
        cell.experiment, cell.variant, cell.target.model_copy(update={"stages": False}), None
    )
    with pytest.raises(UsageError, match="marks no stages"):
        check(blind)


def _report(**steps: Found) -> Report:
    report = Report("t", steps={s: Found(s, runs=1, hits=1) for s in STEPS} | steps)
    report.results.append(a_result("pass"))
    return report


def test_a_loss_against_the_targets_own_word_is_named() -> None:
    lossy = _report(dequeued=Found("dequeued", lost=5, hits=1))
    (said,) = findings(lossy, Behaviour(in_hand_survives_crash=True))
    assert "NOT as its file says" in said
    assert "acknowledged to the queue before it is inserted" in said
    (said,) = findings(lossy, Behaviour(in_hand_survives_crash=False))
    assert "as its file says" in said
    assert "NOT" not in said


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_words_for_what_it_loses_and_duplicates(step: str) -> None:
    report = _report(**{step: Found(step, lost=1, duplicated=1, hits=1)})
    for behaviour in (Behaviour(), Behaviour(queue_survives_crash=True)):
        assert len(findings(report, behaviour)) == 2


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (_report(), ExitCode.WITHIN_BUDGET),
        (_report(acked=Found("acked", lost=1, hits=1)), ExitCode.OVER_BUDGET),
        (_report(acked=Found("acked", duplicated=1, hits=1)), ExitCode.WITHIN_BUDGET),
        (_report(inserted=Found("inserted", runs=2, dwell_s=0.01)), ExitCode.INCONCLUSIVE),
        (_report(inserted=Found("inserted", runs=2)), ExitCode.INCONCLUSIVE),
        (_report(inserted=Found("inserted", runs=2, dwell_s=5e-6)), ExitCode.WITHIN_BUDGET),
    ],
)
def test_exit_codes_of_a_search(report: Report, code: ExitCode) -> None:
    assert _code([report]) is code


def test_an_error_of_the_instrument_outweighs_what_was_found() -> None:
    report = _report(acked=Found("acked", lost=1, hits=1))
    report.results.append(a_result("error"))
    assert _code([report]) is ExitCode.HARNESS_ERROR
    assert _code([]) is ExitCode.NOTHING_JUDGED


def test_what_nobody_can_aim_at_is_told_apart() -> None:
    assert instant(Found("inserted", runs=2, dwell_s=3e-6))
    assert not instant(Found("inserted", runs=2, dwell_s=0.05))
    assert not instant(Found("inserted"))
    assert LOAD_S < 5


def test_the_page_shows_steps_findings_and_the_schedule(tmp_path: Path) -> None:
    cell = _aimed("dequeued")
    asked = Search(
        _cell(), "redis-list", 1, lambda *_: a_result("fail"), tmp_path, tmp_path / "found", 9
    )
    report = _report(dequeued=Found("dequeued", 1, 1, 3, 23, 5, 0, 0.0554))
    file = save(asked, cell, "dequeued", 1)
    report.smallest = Schedule(cell, "dequeued", 15, 1, file)
    report.took_s, report.lost_after_s = 61.2, 33.7
    page = search_page(report, ["dequeued: loses 5: so"], ["Seed 1."])
    assert "| dequeued | 1 | yes | 3 | 55.4 ms | 23 | 5 | 0 |" in squeezed(page)
    assert "- dequeued: loses 5: so" in page
    assert "1 run in 61 s; the first loss was seen after 34 s. Seed 1." in page
    assert "15 events, a kill with one dequeued: 1 lost." in page
    assert file.read_text() in page
    clean = search_page(_report(), [], [])
    assert "- no step lost or duplicated anything" in clean
    assert "none of which lost anything." in clean
