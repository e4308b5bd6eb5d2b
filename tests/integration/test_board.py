"""A small board, made by the command: one row, two columns, and no run made twice."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.program import lossmeter

ROWS, COLUMNS = ("arq",), ("control", "crash-tree")
ASKED = (
    *("board", "--repeat", "1", "--seed", "7"),
    *(word for name in ROWS for word in ("--target", name)),
    *(word for name in COLUMNS for word in ("--experiment", name)),
)


def test_a_board_is_made_once_and_written_from_what_was_made(project: Path) -> None:
    # On a busy machine not all of them are begun in time; the rest are then for the next call.
    made = lossmeter(*ASKED, "--within-min", "1.5", "--jobs", "2", timeout_s=290)
    assert made.code in {0, 7}, made.err
    assert "2 runs to make, 0 are there already" in made.err
    folder = project / "results" / "frameworks"
    runs = json.loads((folder / "board.json").read_text(encoding="utf-8"))["made"]
    cells = [(run["target"], run["experiment"]) for run in runs]
    assert cells
    assert set(cells) <= {(row, column) for row in ROWS for column in COLUMNS}
    assert len(set(cells)) == len(cells)
    assert len(cells) == 2 or "the time is up" in made.err
    for run in runs:
        counts = run["counts"]
        left = counts["lost"] + counts["pending"] + counts["stranded"]
        assert counts["acked"] == counts["delivered"] + left
        if run["experiment"] == "control" and run["verdict"] in {"pass", "fail"}:
            assert (counts["lost"], counts["duplicated"]) == (0, 0)
    page = (folder / "README.md").read_text(encoding="utf-8")
    again = lossmeter(*ASKED, "--within-min", "0", timeout_s=60)
    judged = sum(run["verdict"] in {"pass", "fail"} for run in runs)
    assert f"{2 - judged} runs to make, {judged} are there already" in again.err
    assert again.code == made.code
    assert (folder / "README.md").read_text(encoding="utf-8") == page
    assert all(f"| {row} " in page for row in ROWS)
    assert "## Choose by what you cannot bear" in page
