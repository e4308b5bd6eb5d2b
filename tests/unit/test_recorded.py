"""Runs recorded by an earlier version are judged to the result recorded then.

``tests/recorded/README.md`` says which they are. ``python -m tests.attack.rejudge RUN...``
compares any others.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lossmeter.record.result import RESULT
from tests.attack.rejudge import compare, main, runs_in

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
RUNS = runs_in(RECORDED)
# Fields that were removed, and values that changed, on purpose since: why, by path.
REMOVED: dict[str, str] = {
    "breaches": "an empty list that now has an entry, where dead letters are one",
    "not_measured": "stranded and late are not claimed of a run that did not ask for them",
}
_MEASURED_NOW = {"recovery_s": "it is measured after every fault, not only after a condition"}
CHANGED: dict[str, dict[str, str]] = {
    **dict.fromkeys(("kill", "lossy", "unresolved"), _MEASURED_NOW),
    "letters": {
        **_MEASURED_NOW,
        **dict.fromkeys(("verdict", "reason"), "dead letters are allowed where a budget says so"),
    },
    "planted": {
        **_MEASURED_NOW,
        **dict.fromkeys(("reason", "breaches[0]", "breaches[1]"), "one is said as one"),
    },
    "recovery-not-seen": {
        **_MEASURED_NOW,
        **dict.fromkeys(("verdict", "reason", "breaches[0]"), "the loss decides, now it is seen"),
    },
}

PROVEN = {"self_proof.length": "stranded and late events are planted, too"}


def test_the_recorded_runs_show_every_verdict_and_class() -> None:
    results = [json.loads((folder / RESULT).read_text()) for folder in RUNS]
    assert {each["verdict"] for each in results} == {"pass", "fail", "inconclusive", "error"}
    met = {name for each in results for name, count in each["counts"].items() if count}
    assert {"lost", "dead_lettered", "unresolved", "refused", "unexpected", "duplicated"} <= met
    assert any(each["stages"] for each in results)


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_recorded_run_is_judged_as_it_was(folder: Path) -> None:
    seen = compare(folder)
    assert {each.path for each in seen.different} == {*CHANGED.get(folder.name, ()), *PROVEN}
    assert set(seen.removed) <= set(REMOVED)
    assert seen.same >= 60


def test_a_row_less_makes_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "control"
    shutil.copytree(RECORDED / "control", copy)
    rows = np.load(copy / "rows.npy")
    np.save(copy / "rows.npy", rows[1:])
    assert main([str(copy)]) == 1
    assert "counts.lost\n        recorded 0\n        judged   1\n" in capsys.readouterr().out
