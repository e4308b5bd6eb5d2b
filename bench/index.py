"""Writes ``results/bench/README.md``: each goal of each part, met or missed, and by how much."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench import PARTS
from bench.report import RESULTS

_HEAD = """# The instrument, measured

Written by `make bench` from the tables beside it; each part alone by `make bench-NAME`.
Ratios are between contenders of one run; times depend on the machine that each table names.

| part | goal | measured | |
|---|---|---:|---|
"""


def write() -> None:
    """Write the index of the parts that were measured."""
    saved = {name: _saved(name) for name in PARTS}
    rows = [row for name, part in saved.items() if part for row in _rows(name, part)]
    lacking = [name for name, part in saved.items() if not part]
    text = _HEAD + "\n".join(rows) + "\n"
    if lacking:
        text += f"\nNot measured: {', '.join(lacking)}.\n"
    (RESULTS / "README.md").write_text(text, encoding="utf-8")


def _saved(name: str) -> Mapping[str, Any] | None:
    try:
        content: Mapping[str, Any] = json.loads(
            (RESULTS / f"{name}.json").read_text(encoding="utf-8")
        )
    except OSError:
        return None
    # Tables of an older form have no goals.
    return content if "goals" in content else None


def _rows(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    for goal in part["goals"]:
        value = goal["measured"]
        measured = "" if value is None else f"{value:,.4g}"
        yield f"| [{name}]({name}.md) | {goal['text']} | {measured} | {_word(goal)} |"


def _word(goal: Mapping[str, Any]) -> str:
    if goal["met"]:
        return "met"
    if goal["measured"] is None:
        return "not measured"
    short = goal.get("short_by")
    return "**missed**" + ("" if short is None else f", {short:.3g} times short")
