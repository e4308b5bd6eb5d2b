"""Classes that most runs have no event of: which of them a table shows beside what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lossmeter.model import HELD

LATE = "late"
# Only some targets are asked for these, so that there was none is worth a figure.
_ASKED_FOR = {"stranded", LATE}


def seldom_shown(read: Callable[[str], Iterable[float | None]]) -> list[str]:
    """Return the classes that a table has columns of: what any of its rows has an event of.

    Args:
        read: returns a class of each row, by its name in ``Counts``; None where a row has not
            measured it.
    """
    return [name for name in (*HELD, LATE) if any(_says(name, value) for value in read(name))]


def _says(name: str, value: float | None) -> bool:
    return bool(value) or (value is not None and name in _ASKED_FOR)
