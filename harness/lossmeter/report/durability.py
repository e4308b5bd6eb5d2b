"""The table of ack durability: what was acked, and gone after a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from lossmeter.report._layout import NOTHING, Column, Grid
from lossmeter.report._templates import render
from lossmeter.studies.worth import Worth


def durability_table(worths: Sequence[Worth], faults: Sequence[str]) -> RenderableType:
    """Return the table, and below it what was not measured and what follows."""
    below = [*_sentences(worths), *_notes(worths)]
    return Group(_grid(worths, faults), *(Text(line) for line in below))


def _grid(worths: Sequence[Worth], faults: Sequence[str]) -> Grid[Worth]:
    return Grid(
        "Ack durability: acked events that each fault lost, and how long they had been acked",
        (
            Column("target", lambda worth: worth.target, 0, words=True),
            Column("setting", lambda worth: worth.named, 0, words=True),
            Column("acked means", lambda worth: worth.ack_level, 50, words=True, matters=_always),
            *(_column(fault, rank) for rank, fault in enumerate(faults, 1)),
        ),
        _shown(worths),
        group=lambda worth: worth.target,
    )


def _column(fault: str, rank: int) -> Column[Worth]:
    def show(worth: Worth) -> str:
        return str(worth.windows[fault]) if fault in worth.windows else NOTHING

    return Column(fault, show, rank, words=True, matters=_always)


def _always(_: Worth) -> bool:
    return True


def durability_page(worths: Sequence[Worth], faults: Sequence[str], how: str) -> str:
    """Return the same as Markdown; ``how`` says under which load it was measured."""
    levels = {worth.ack_level for worth in worths}
    return render(
        "durability.md.j2",
        {
            "means": [(level, text) for level, text in _MEANS.items() if level in levels],
            "table": _grid(worths, faults).markdown(),
            "lines": [*_sentences(worths), *_notes(worths)],
            "how": how,
            "made": dict.fromkeys(worth.made for worth in worths if worth.made),
        },
    )


_MEANS = {
    "enqueued": "the event is in the memory of the dispatcher",
    "broker": "the broker has confirmed the event",
    "database": "the database has committed the event",
}


def _sentences(worths: Sequence[Worth]) -> list[str]:
    return [worth.sentence for worth in _shown(worths)]


def _shown(worths: Sequence[Worth]) -> list[Worth]:
    """Return the rows that say something: a setting that was never measured does not."""
    measured = [w for w in worths if any(seen.lost is not None for seen in w.windows.values())]
    return [worth for worth in worths if not worth.setting or worth in measured]


def _notes(worths: Sequence[Worth]) -> list[str]:
    """Return why cells were not measured, each reason once."""
    reasons: Mapping[str, None] = dict.fromkeys(
        f"not measured, {name}: {window.note}"
        for worth in worths
        for name, window in worth.windows.items()
        if window.lost is None
    )
    return list(reasons)
