"""Writes ``results/bench/README.md``: each goal of each part, met or missed, and by how much."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench import PARTS
from bench.report import RESULTS, basis_of_parts, figure_of
from lossmeter.report._layout import markdown_table
from lossmeter.studies.pages import made_now, note

_HEAD = """# The instrument, measured

Written by `make bench` from the tables beside it; each part alone by `make bench-NAME`.
Ratios are between contenders of one run; times depend on the machine that each table names.

"""
_COLUMNS, _RIGHT = ("part", "goal", "measured", ""), (False, False, True, False)


def write() -> None:
    """Write the index of the parts that were measured."""
    saved = {name: _saved(name) for name in PARTS}
    rows = [row for name, part in saved.items() if part for row in _rows(name, part)]
    lacking = [name for name, part in saved.items() if not part]
    text = _HEAD + markdown_table(_COLUMNS, rows, _RIGHT) + "\n"
    if lacking:
        text += f"\nNot measured: {', '.join(lacking)}.\n"
    (RESULTS / "README.md").write_text(text, encoding="utf-8")
    # It is of one version where all of its parts are.
    commits = [str(part.get("packages", {}).get("commit", "")) for part in saved.values() if part]
    note(RESULTS, ["README.md"], basis_of_parts() if made_now(commits) else None)


def _saved(name: str) -> Mapping[str, Any] | None:
    try:
        content: Mapping[str, Any] = json.loads(
            (RESULTS / f"{name}.json").read_text(encoding="utf-8")
        )
    except OSError:
        return None
    # Tables of an older form have no goals.
    return content if "goals" in content else None


def _rows(name: str, part: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for goal in part["goals"]:
        value = goal["measured"]
        measured = "" if value is None else figure_of(value)
        yield f"[{name}]({name}.md)", goal["text"], measured, _word(goal)


def _word(goal: Mapping[str, Any]) -> str:
    if goal["met"]:
        return "met"
    if goal["measured"] is None:
        return "not measured"
    short = goal.get("short_by")
    return "**missed**" + ("" if short is None else f", {short:.3g} times short")
