from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import PARTS, dispatcher, index, pieces, report
from bench import reconcile as part
from bench.pieces import Piece, Pieces
from bench.report import Report, Row, at_least, at_most, figure_of
from tests.support.pages import squeezed


def test_goals_are_met_or_missed_and_never_met_unmeasured() -> None:
    assert at_least("x", 3, 3).met
    assert not at_least("x", 2.9, 3).met
    assert at_most("x", 3, 3).met
    assert not at_most("x", 3.1, 3).met
    assert not at_least("x", None, 0).met
    assert not at_most("x", float("nan"), 3).met


def test_a_report_is_a_table_a_file_for_programs_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    rows = [Row("ours", "reads", 2.0, "s", 1.0), Row("theirs", "reads", 9.0, "s", 4.5)]
    Report("part", "A part", "So.", 5, rows, [at_least("times", 4.5, 5)]).save()
    assert "**missed**: times ≥ 5: 4.5, 1.11 times short of it" in (tmp_path / "part.md").read_text(
        encoding="utf-8"
    )
    saved = json.loads((tmp_path / "part.json").read_text(encoding="utf-8"))
    assert saved["goals"] == [
        {"text": "times ≥ 5", "measured": 4.5, "met": False, "short_by": 1.111}
    ]
    assert "theirs" in (tmp_path / "part.svg").read_text(encoding="utf-8")


def test_every_part_has_a_file() -> None:
    folder = Path(report.__file__).parent
    assert all((folder / f"{name}.py").is_file() for name in PARTS)


def test_contenders_find_the_same_events() -> None:
    reported, held = part.history(200_000, 3)
    answers = {name: way(reported, held) for name, way in part.CONTENDERS.items()}
    lost = 200_000 * part.LOST_PER_MILLION // 1_000_000
    doubled = 200_000 * part.DOUBLED_PER_MILLION // 1_000_000
    assert set(answers.values()) == {(lost, part.FOREIGN_ROWS, doubled)}
    assert np.unique(held.rows["position"]).size == len(held.rows)


def test_the_index_names_each_goal_and_by_how_much_it_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(index, "RESULTS", tmp_path)
    goals = [at_least("times", 4.0, 5), at_most("seconds", 1.0, 2)]
    Report("stages", "A part", "So.", 5, [Row("ours", "reads", 2.0, "s", 1.0)], goals).save()
    (tmp_path / "load.json").write_text("{}", encoding="utf-8")
    index.write()
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert len({len(line) for line in written.splitlines() if line.startswith("|")}) == 1
    text = squeezed(written)
    assert "| [stages](stages.md) | times ≥ 5 | 4 | **missed**, 1.25 times short |" in text
    assert "| [stages](stages.md) | seconds ≤ 2 | 1 | met |" in text
    assert "Not measured: startup, reconcile, readback, load," in text


def test_pieces_are_kept_and_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "FOLDER", tmp_path)
    count = iter(range(100))
    kept = Pieces("part", {"a": Piece(lambda _: next(count), 2), "b": Piece(lambda _: "x")})
    kept.measure("a", None, lambda _: None, more=False)
    assert kept.lacking() == ["b"]
    kept.measure("a", 1, lambda _: None, more=True)
    assert kept.found() == {"a": [0, 1, 2], "b": []}
    kept.measure("a", 1, lambda _: None, more=False)
    assert kept.found()["a"] == [3]
    with pytest.raises(SystemExit, match="no piece 'c'; it has a, b"):
        kept.named(["c"])


def test_the_self_proof_is_measured_at_its_largest() -> None:
    assert 0 < part.proof_s(1) < 10


def test_pieces_without_a_round_leave_their_goals_unmeasured() -> None:
    answer = {"seconds": 1.0, "mib": 10.0, "answer": [1, 2, 3]}
    found = {"1M": [dict.fromkeys(part.CONTENDERS, answer)], "10M": [], "100M": [], "proof": []}
    said = part.report(found)
    assert {row.contender for row in said.rows} == {f"{name}, 1 M" for name in part.CONTENDERS}
    assert all(goal.measured is None and not goal.met for goal in said.goals)
    nothing = dispatcher.report({name: [] for name in dispatcher.PIECES})
    assert not nothing.rows
    assert not any(goal.met for goal in nothing.goals)


@pytest.mark.parametrize(
    ("measured", "shown"),
    [(47_471.6, "47,472"), (1000, "1,000"), (999.94, "999.9"), (2.8651, "2.865"), (0, "0")],
)
def test_a_measured_number_is_shown_without_an_exponent(measured: float, shown: str) -> None:
    assert figure_of(measured) == shown
