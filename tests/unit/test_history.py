"""The index of runs mirrors the run folders, whatever becomes of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from lossmeter.errors import UsageError
from lossmeter.judge.again import judge_in_force
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.record.index import SCHEMA, Filter, History, trends
from lossmeter.report.history import curve
from tests.support.recorded_runs import plain_budgets, record
from tests.support.resealed import resealed
from tests.support.typed import typed


@pytest.fixture
def history(project: Path) -> History:
    plain_budgets(project)
    judge = judge_in_force(Catalogue(Project.of(project)))
    return History(project / "results" / "history.sqlite", project / "results" / "runs", judge)


def folders(history: History, of: Filter | None = None) -> list[str]:
    return [entry.folder for entry in history.entries(of or Filter())]


def test_the_index_follows_the_folders(project: Path, history: History) -> None:
    assert history.refresh() == []
    assert folders(history) == []
    second = record(project, "20260102T000000Z-crash-1", lost=3)
    record(project, "20260101T000000Z-crash-1", target="redis")
    history.refresh()
    assert folders(history) == ["20260101T000000Z-crash-1", "20260102T000000Z-crash-1"]
    assert folders(history, Filter(target="redis")) == ["20260101T000000Z-crash-1"]
    assert folders(history, Filter(experiment="crash", runtime="docker")) == []
    entry = history.entries(Filter(target="channel"))[0]
    assert (entry.lost, entry.verdict, entry.begun) == (3, "fail", "2026-01-02T00:00:00+00:00")
    assert entry.throughput_per_s == pytest.approx(1.0)
    shutil.rmtree(second)
    history.refresh()
    assert folders(history) == ["20260101T000000Z-crash-1"]


def test_an_edited_result_is_not_believed(project: Path, history: History) -> None:
    folder = record(project, "20260101T000000Z-crash-1", lost=3)
    file = folder / "result.json"
    file.write_text(file.read_text().replace('"fail"', '"pass"').replace('"lost": 3', '"lost": 0'))
    history.refresh()
    assert [(e.verdict, e.lost) for e in history.entries(Filter())] == [("fail", 3)]


def test_a_run_is_judged_anew_when_it_or_the_budgets_change(
    project: Path, history: History
) -> None:
    folder = record(project, "20260101T000000Z-crash-1", lost=3)
    history.refresh()
    np.save(folder / "rows.npy", np.load(folder / "rows.npy")[1:])
    resealed(folder)
    history.refresh()
    assert [entry.lost for entry in history.entries(Filter())] == [4]
    (project / "experiments" / "budgets.toml").write_text("[crash.default]\nmax_lost = 9\n")
    judge = judge_in_force(Catalogue(Project.of(project)))
    looser = History(history.file, history.runs, judge, judge.budgets)
    looser.refresh()
    assert [entry.verdict for entry in looser.entries(Filter())] == ["pass"]


def test_what_was_not_measured_is_not_zero(project: Path, history: History) -> None:
    record(project, "20260101T000000Z-crash-1", collected=False)
    history.refresh()
    (entry,) = history.entries(Filter())
    assert (entry.lost, entry.throughput_per_s) == (None, None)
    assert entry.acked == 40


def test_damaged_folders_are_told_and_left_out(project: Path, history: History) -> None:
    record(project, "20260101T000000Z-crash-1")
    (record(project, "20260102T000000Z-crash-1") / "facts.json").write_bytes(b"\xff{")
    (record(project, "20260103T000000Z-crash-1") / "facts.json").write_text('{"run_id": 3}')
    (record(project, "20260104T000000Z-crash-1") / "facts.json").unlink()
    (project / "results" / "runs" / "not-a-run").mkdir()
    assert len(history.refresh()) == 4
    assert folders(history) == ["20260101T000000Z-crash-1"]


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b"SQLite format 3\x00" * 99, b""])
def test_a_damaged_index_is_made_anew(project: Path, history: History, damage: bytes) -> None:
    record(project, "20260101T000000Z-crash-1")
    history.refresh()
    history.file.write_bytes(damage)
    history.refresh()
    assert folders(history) == ["20260101T000000Z-crash-1"]


def test_an_index_of_another_layout_is_made_anew(project: Path, history: History) -> None:
    record(project, "20260101T000000Z-crash-1")
    history.refresh()
    with sqlite3.connect(history.file) as connection:
        connection.execute("alter table runs drop column lost")
        connection.execute(f"pragma user_version = {SCHEMA + 1}")
    connection.close()
    history.refresh()
    assert history.entries(Filter())[0].lost == 0


def test_a_database_of_somebody_elses_is_left_alone(history: History) -> None:
    history.file.parent.mkdir(exist_ok=True)
    with sqlite3.connect(history.file) as connection:
        connection.execute("create table theirs (a)")
    connection.close()
    before = history.file.read_bytes()
    with pytest.raises(UsageError, match="is no index of runs; move it away"):
        history.refresh()
    assert history.file.read_bytes() == before


def test_runs_that_say_nothing_are_gaps_in_the_trend(project: Path, history: History) -> None:
    record(project, "20260101T000000Z-crash-1", lost=1)
    record(project, "20260102T000000Z-crash-1", lost=9, settled=False)
    record(project, "20260103T000000Z-crash-1", lost=4)
    history.refresh()
    (trend,) = trends(history.entries(Filter()), 20)
    assert trend.figures("lost") == [1, None, 4]
    assert len(trends(history.entries(Filter()), 2)[0].entries) == 2


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([None, None], "··"),
        ([0, 7, None, 3], "▁█·▄"),
        ([5, 5, 5], "▁▁▁"),
        ([3.5], "▁"),
    ],
)
def test_a_curve(values: list[float | None], drawn: str) -> None:
    assert curve(values) == drawn


def test_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain_budgets(project)
    assert typed(capsys, "history").code == 5
    record(project, "20260101T000000Z-crash-1", lost=1)
    record(project, "20260102T000000Z-crash-1", lost=5)
    (record(project, "20260103T000000Z-crash-1") / "facts.json").unlink()
    done = typed(capsys, "history")
    assert done.code == 0
    assert "5 (was 1)           ▁█" in done.out
    assert "crash on channel (local) fail: lost 5 is above the budget of 0" in done.out
    assert "damaged: 20260103T000000Z-crash-1: " in done.err
    entries = json.loads(typed(capsys, "history", "--json", "-", "--target", "channel").out)
    assert [entry["lost"] for entry in entries] == [1, 5]
    assert typed(capsys, "history", "--experiment", "control").code == 5
