"""Pieces of a part that takes long: each measured by itself, kept until all are there.

What is compared with each other is measured in one piece, in alternating rounds; so a piece
can be measured in several goes, and a ratio never spans two of them unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import RESULTS
from lossmeter.run.environment import machine

FOLDER = RESULTS / "pieces"
Say = Callable[[str], None]
Round = Any
Found = Mapping[str, list[Round]]


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece.

    Attributes:
        measure: makes one round and returns what it found, as JSON can hold it.
        rounds: how many are made unless others are asked for.
    """

    measure: Callable[[Say], Round]
    rounds: int = 5


class Pieces:
    """The pieces of one part, with the rounds that were made of each."""

    def __init__(self, part: str, pieces: Mapping[str, Piece]) -> None:
        self._part = part
        self._pieces = pieces

    def named(self, asked: Sequence[str] | None) -> Sequence[str]:
        """Return the pieces asked for; all when none was named.

        Raises:
            SystemExit: there is no such piece.
        """
        for name in asked or ():
            if name not in self._pieces:
                known = ", ".join(self._pieces)
                raise SystemExit(f"{self._part} has no piece {name!r}; it has {known}")
        return asked or list(self._pieces)

    def measure(self, name: str, rounds: int | None, say: Say, *, more: bool) -> None:
        """Make rounds of a piece, each kept as soon as it is made."""
        kept = self._kept(name) if more else []
        piece = self._pieces[name]
        wanted = piece.rounds if rounds is None else rounds
        for number in range(wanted):
            say(f"{self._part} {name}, round {number + 1} of {wanted}")
            kept.append(piece.measure(say))
            FOLDER.mkdir(parents=True, exist_ok=True)
            content = {"machine": machine(), "rounds": kept}
            self._path(name).write_text(json.dumps(content) + "\n", encoding="utf-8")

    def lacking(self) -> list[str]:
        """Return the pieces without a round."""
        return [name for name in self._pieces if not self._kept(name)]

    def found(self) -> Found:
        """Return the rounds of each piece."""
        return {name: self._kept(name) for name in self._pieces}

    def _kept(self, name: str) -> list[Round]:
        try:
            content = json.loads(self._path(name).read_text(encoding="utf-8"))
        except OSError:
            return []
        # What another machine found says nothing beside what this one did.
        return list(content["rounds"]) if content["machine"] == machine() else []

    def _path(self, name: str) -> Any:
        return FOLDER / f"{self._part}-{name}.json"
