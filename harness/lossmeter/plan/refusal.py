"""Why a cell has no run: in a word or two for a table, and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a cell cannot be run, or was not.

    Attributes:
        short: for the cell of a table, e.g. ``no broker``.
        why: one sentence that names the cell's parts.
    """

    short: str
    why: str
