"""A run that was altered since it was recorded is an error, whoever reads it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lossmeter.errors import AlteredError
from lossmeter.judge.again import judge_in_force
from lossmeter.judge.verdict import judge_run, judging, measured
from lossmeter.load.journal import JournalWriter
from lossmeter.model import Status
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.arrays import PAIR, ROW
from lossmeter.record.collected import Collected
from lossmeter.record.facts import Facts
from lossmeter.record.index import Filter, History
from lossmeter.record.manifest import genuine
from lossmeter.record.runs import RecordedRun, read_run
from lossmeter.report.serve import Pages
from tests.support.judged_runs import EVENTS, SECOND
from tests.support.odd_project import experiment
from tests.support.pages import Seen
from tests.support.recorded_runs import plain_budgets, record
from tests.support.resealed import unsealed
from tests.support.sealed_runs import sealed
from tests.support.typed import typed

NAME = "20260101T000000Z-crash-1"
OTHER = "20260102T000000Z-crash-1"


@pytest.fixture(autouse=True)
def _budgets(project: Path) -> None:
    plain_budgets(project)


def _rows_of_another_run(folder: Path) -> None:
    other = sealed(folder.parents[2], OTHER, target="redis")
    shutil.copy(other / "rows.npy", folder / "rows.npy")


def _invented_dead_letters(folder: Path) -> None:
    letters = np.array([(0, n) for n in range(3)], PAIR)
    rows = np.load(folder / "rows.npy")
    Collected(rows, letters, np.empty(0, PAIR)).save(folder)


def _outcomes_refused(folder: Path) -> None:
    (folder / "journal-0.bin").unlink()
    with JournalWriter(folder / "journal-0.bin", 0, 1, 1, 0) as journal:
        for n in range(EVENTS):
            status = Status.REFUSED if n < 3 else Status.ACKED
            journal.intent(0, n, n * SECOND, n * SECOND, 0)
            journal.outcome(0, n, n * SECOND + SECOND // 4, status, 429 if n < 3 else 202)
        journal.end(EVENTS * SECOND, 0)


def _raised_bound(folder: Path) -> None:
    facts = Facts.load(folder)
    facts.budget = Budget(max_lost=9)
    facts.save(folder)


def _no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _manifest_of_another_run(folder: Path) -> None:
    other = sealed(folder.parents[2], OTHER, target="redis")
    shutil.copy(other / "manifest.json", folder / "manifest.json")


def _manifest_made_anew(folder: Path) -> None:
    from lossmeter.record.manifest import seal

    _rows_of_another_run(folder)
    seal(folder, NAME)


def _journal_added(folder: Path) -> None:
    shutil.copy(folder / "journal-0.bin", folder / "journal-1.bin")


def _log_shortened(folder: Path) -> None:
    (folder / "logs" / "target.log").write_text("it")


def _a_link_for_rows(folder: Path) -> None:
    (folder / "rows.npy").rename(folder.parents[1] / "rows.npy")
    (folder / "rows.npy").symlink_to(folder.parents[1] / "rows.npy")


def _a_fifo_for_rows(folder: Path) -> None:
    (folder / "rows.npy").unlink()
    os.mkfifo(folder / "rows.npy")


def _a_folder_for_rows(folder: Path) -> None:
    (folder / "rows.npy").unlink()
    (folder / "rows.npy").mkdir()


ALTERED = [
    (_rows_of_another_run, "rows.npy"),
    (_invented_dead_letters, "dead_lettered.npy"),
    (_outcomes_refused, "journal-0.bin"),
    (_raised_bound, "facts.json"),
    (_no_manifest, "manifest.json is missing"),
    (_manifest_of_another_run, "its files are those of run"),
    (_manifest_made_anew, "manifest.json or the digest in result.json"),
    (_journal_added, "journal-1.bin (added)"),
    (_log_shortened, "logs/target.log"),
    (_a_link_for_rows, "rows.npy"),
    (_a_fifo_for_rows, "rows.npy"),
    (_a_folder_for_rows, "rows.npy"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("alter", "named"), ALTERED)
def test_what_was_altered_is_an_error_for_all_that_read(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    alter: Callable[[Path], None],
    named: str,
) -> None:
    folder = sealed(project, NAME, lost=3)
    assert typed(capsys, "gate", NAME).code == 1
    alter(folder)
    said = "altered since it was recorded: "
    for command in (("gate", NAME), ("report", NAME)):
        done = typed(capsys, *command)
        assert done.code == 3, command
        assert said in done.out
        assert named.split(maxsplit=1)[0] in done.out
        assert "Traceback" not in done.err
    done = typed(capsys, "history")
    assert f"({'local'}) error: {said}{named}" in " ".join(done.out.split())
    base = str(folder.parent)
    for command in (("compare", NAME), ("results", NAME), ("explain", NAME), ("changes", base)):
        done = typed(capsys, *command)
        assert done.code == 3, command
        assert f"error: {NAME}: {said}{named}" in done.err
    with pytest.raises(AlteredError):
        measured(folder, "lost")


@pytest.mark.parametrize(("alter", "named"), ALTERED[:4])
def test_pages_that_are_served_say_what_was_altered(
    project: Path, alter: Callable[[Path], None], named: str
) -> None:
    folder = sealed(project, NAME, lost=3)
    judge = judge_in_force(Catalogue.here())
    pages = Pages(History(project / "history.sqlite", folder.parent, judge, judge.budgets))
    run = read_run(folder)
    assert isinstance(run, RecordedRun)
    said = f"altered since it was recorded: {named}"
    assert "lost 3 is above the budget of 0" in Seen(pages.run(run)).text
    assert said not in Seen(pages.index(Filter())).text
    alter(folder)
    altered = read_run(folder)
    assert isinstance(altered, RecordedRun)
    for text in (Seen(pages.run(altered)).text, Seen(pages.index(Filter())).text):
        assert said in text
        assert "above the budget" not in text


def test_no_worked_number_rests_on_a_run_that_was_altered(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sealed(project, NAME, experiment="crash-full", lost=3)
    asked = ("worked-numbers", "--recorded", "--runtime", "local")
    page = project / "results" / "worked-numbers.json"
    budgets = project / "experiments" / "budgets.toml"
    budgets.write_text(f"{budgets.read_text()}\n[crash.full.default]\nmax_lost = 9\n")

    def shown() -> tuple[int, int, list[float]]:
        done = typed(capsys, *asked)
        number, *_ = json.loads(page.read_text())["numbers"]
        return done.code, number["made"], number["measured"]

    assert shown() == (1, 1, [3.0])
    _rows_of_another_run(folder)
    assert shown() == (7, 1, [])


def test_a_report_says_that_another_budget_is_in_force(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed(project, NAME, lost=3, budget=Budget(max_lost=5))
    done = typed(capsys, "report", NAME)
    assert done.code == 1
    assert "judged by max_lost = 0, as in force; recorded: max_lost = 5" in done.err


def test_a_report_of_an_altered_run_keeps_the_digest_that_shows_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sealed(project, NAME, lost=3)
    before = (folder / "result.json").read_bytes()
    _raised_bound(folder)
    assert typed(capsys, "report", NAME).code == 3
    assert (folder / "result.json").read_bytes() == before


def test_what_was_not_altered_is_judged_as_when_it_was_recorded(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sealed(project, NAME, lost=3)
    recorded = json.loads((folder / "result.json").read_text())
    with (folder / "logs" / "target.log").open("a") as log:
        log.write("what outlives the run writes on\n")
    (folder / "notes.txt").write_text("mine")
    assert typed(capsys, "report", NAME).code == 1
    again = json.loads((folder / "result.json").read_text())
    assert again | {"timings_s": recorded["timings_s"]} == recorded
    assert recorded["notes"] == []
    assert len(recorded["manifest_sha256"]) == 64
    assert {"judge", "self_proof"} <= set(recorded["timings_s"])


def test_a_run_may_be_moved_and_renamed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sealed(project, NAME)
    folder.rename(folder.with_name("baseline-a-1"))
    assert typed(capsys, "gate", "baseline-a-1").code == 0


def test_an_edited_result_is_not_believed_by_compare(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sealed(project, NAME, lost=3)
    file = folder / "result.json"
    file.write_text(file.read_text().replace('"lost": 3', '"lost": 0').replace("fail", "pass"))
    done = typed(capsys, "compare", NAME, "--out", "matrix.csv")
    assert done.code == 0, done.err
    assert ",3.0,3.0,3.0," in (project / "matrix.csv").read_text()


@pytest.mark.parametrize("lost", [0, 3])
def test_of_a_run_that_is_sealed_no_more_nothing_is_a_verdict(
    project: Path, capsys: pytest.CaptureFixture[str], lost: int
) -> None:
    folder = sealed(project, NAME, lost=lost)
    assert typed(capsys, "gate", NAME).code == (1 if lost else 0)
    unsealed(folder)
    said = "it was not sealed, so nothing vouches for what was recorded: it has no manifest.json"
    for command in ("gate", "report", "gate"):
        done = typed(capsys, command, NAME)
        assert done.code == 7, command
        assert said in " ".join(done.out.split())
    assert f"(local) inconclusive: {said}" in " ".join(typed(capsys, "history").out.split())
    assert "inconclusive" in typed(capsys, "compare", NAME).out


def test_the_newest_run_is_the_one_that_was_begun_last(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = sealed(project, NAME, begun_ns=1_700_000_000 * SECOND)
    new = sealed(project, OTHER, lost=3, begun_ns=1_700_000_100 * SECOND)
    old.rename(old.with_name("zz-baseline-1"))
    new.rename(new.with_name("aa-1"))
    for command in ("gate", "report"):
        assert typed(capsys, command).code == 1, command
    lost = [entry["lost"] for entry in json.loads(typed(capsys, "history", "--json", "-").out)]
    assert lost == [0, 3]


def test_budgets_are_found_for_an_experiment_of_ones_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, NAME, experiment="short", budget=None)
    record(project, OTHER, experiment="short-hard-case", lost=3, budget=None)
    assert typed(capsys, "gate").code == 7
    own = project / "b.toml"
    own.write_text("[short.channel]\nmax_lost = 0\n[short.hard-case.default]\nmax_lost = 2\n")
    assert typed(capsys, "gate", "--budgets", "b.toml", NAME).code == 0
    done = typed(capsys, "gate", "--budgets", "b.toml", OTHER)
    assert done.code == 1
    assert "lost 3 is above the budget of 2" in done.out


def test_budgets_are_found_for_an_experiment_that_is_named_by_its_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "short.py").write_text(experiment())
    record(project, NAME, experiment="short", budget=None)
    (project / "b.toml").write_text("[short.channel]\nmax_lost = 0\n")
    ask = ("gate", "--experiment", str(elsewhere / "short.py"))
    assert typed(capsys, *ask).code == 7
    done = typed(capsys, *ask, "--budgets", "b.toml")
    assert done.code == 0, done.err
    (project / "b.toml").write_text("[short.default]\nmax_lost = 0\nmin_acked = 100000\n")
    assert typed(capsys, *ask, "--budgets", "b.toml").code == 7


def test_rows_of_a_sealed_run_are_those_of_the_type_that_belongs_there(project: Path) -> None:
    folder = sealed(project, NAME)
    assert np.load(folder / "rows.npy").dtype == ROW
    assert judge_run(folder).verdict == "pass"


def test_a_seal_holds_until_something_is_written(project: Path) -> None:
    folder = sealed(project, NAME)
    facts = Facts.load(folder)
    seal = genuine(folder, NAME, sealed=True)
    assert genuine(folder, NAME, sealed=True, seal=seal) is seal
    data = (folder / "rows.npy").read_bytes()
    (folder / "rows.npy").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with judging(folder, facts, seal=seal) as judged:
        assert judged.result.verdict == "error"
        assert "rows.npy" in judged.result.reason
        assert judged.account is None
