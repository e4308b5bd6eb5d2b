"""The commands that keep their runs write what there is, without making any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lossmeter.commands import board
from lossmeter.commands._making import Making
from lossmeter.errors import ExitCode, UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.studies.board import plan_of
from lossmeter.studies.standing import State
from lossmeter.world.runtimes.local import RUNTIME
from tests.support.ended import ended_with
from tests.support.judged_runs import a_result
from tests.support.run_folders import Written


def test_a_board_without_time_writes_its_pages(project: Path) -> None:
    given = {"target": ["rq"], "experiment": ["control"], "within_min": 0.0, "repeat": 1}
    assert ended_with(board.command, **given) == ExitCode.NOTHING_JUDGED
    folder = project / "results" / "frameworks"
    assert json.loads((folder / "board.json").read_text(encoding="utf-8")) == {"made": []}
    for name in ("README.md", "board.html"):
        assert "rq-maintained" in (folder / name).read_text(encoding="utf-8")
    (folder / "board.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="is not what keeps runs; remove it"):
        board.command(**given)  # type: ignore[arg-type]


def test_a_run_is_kept_with_what_it_was_made_with(project: Path) -> None:
    catalogue = Catalogue(Project.of(project))
    (entry,) = plan_of(catalogue, ["rq"], ["crash-tree"]).entries
    folder = Written(catalogue.runs / "20261125T000001Z-crash-1", lost=9).save()
    recorded = {"commit": "abc", "servers": {"redis": "8.0"}}
    (folder / "environment.json").write_text(json.dumps(recorded), encoding="utf-8")
    saved: list[int] = []
    state = State()
    making = Making(catalogue, RUNTIME, 1, 0.0, state, lambda: saved.append(len(state.made)))
    making.add(a_result("pass").model_copy(update={"run_id": folder.name, "repeat": 2}), entry)
    (made,) = state.of(entry)
    assert (made.commit, made.servers, made.repeat) == ("abc", {"redis": "8.0"}, 2)
    assert not made.survived
    assert saved == [1]
    # Where nothing was recorded nothing is claimed.
    (folder / "environment.json").unlink()
    making.add(a_result("pass").model_copy(update={"run_id": folder.name, "repeat": 2}), entry)
    (made,) = state.of(entry)
    assert (made.commit, made.servers) == ("", {})
