"""Runs that nobody made, and a board of them, for the tests of pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lossmeter.model import Counts, Verdict
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.report.board_view import BoardView, board_view
from lossmeter.studies.board import plan_of
from lossmeter.studies.standing import LOSSY, Entry, Made, State
from tests.support.pages import MARKUP

ABOUT = {"runtime": "local", "machine": "cores 2", "commit": "abc"}


def kept(entry: Entry, counts: Counts, **more: Any) -> Made:
    """Return a run of a cell that nobody made; one that lost something fails."""
    given: dict[str, Any] = {
        "target": entry.target,
        "experiment": entry.column,
        "repeat": 0,
        "seed": 7,
        "digest": entry.digest,
        "files": entry.files,
        "run_id": f"run-{entry.column}",
        "verdict": Verdict.FAIL if counts.lost else Verdict.PASS,
        "reason": "",
        "counts": counts,
        "lost_when": {"acked before the fault": counts.lost} if counts.lost else {},
    }
    return Made(**(given | more))


def _made(entry: Entry, number: int) -> Made:
    """Return a run of a cell whose figures differ from those of all others."""
    kinds: list[dict[str, int]] = [
        {},
        {"lost": number},
        {"stranded": number, "late": 1234},
        {"lost": 1234, "pending": number, "duplicated": 1234, "late": 1234, "unresolved": 1234},
        {"duplicated": number},
    ]
    counts = Counts(sent=9999, acked=9999, **kinds[number % len(kinds)])
    return kept(
        entry,
        counts,
        seed=number % 2,
        run_id=f"run-{number}",
        late_by_s=123.4 if counts.late else None,
        recovery_s=1.5,
        p99_ms=12.5,
        persisted_per_s=79.5,
        planted=40 if entry.column == LOSSY else None,
        commit="0123456789ab with changes",
        servers={"postgres": "17.6", "redis": "8.0.2"},
    )


def painted() -> BoardView:
    """Return the shipped board with runs of every kind, and cells without any."""
    root = Path(__file__).resolve().parents[2]
    plan, state = plan_of(Catalogue(Project.of(root))), State()
    for number, entry in enumerate(plan.entries):
        made = _made(entry, number)
        if number % 7 == 3:
            made = made.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": MARKUP})
        if number % 7 != 5:
            state.add(made)
    return board_view(plan, state, ABOUT)
