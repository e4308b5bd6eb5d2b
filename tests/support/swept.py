"""Runs written by hand in the place of those that ``lossmeter results`` makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lossmeter.commands import _making
from lossmeter.commands._running import Placed, in_turn
from lossmeter.judge.verdict import judge_run
from lossmeter.plan.seeds import derived
from lossmeter.record.result import Result
from tests.support.run_folders import Written

TOOK_S = 30.0
# What happens in the place of a repeat's run on a target; None for a run.
Ends = Callable[[int, str], BaseException | None]


class Runs:
    """Stands in for ``run_all``: writes a run in the place of each that is asked for.

    Attributes:
        ends: what happens instead.
        names: experiment, target and repeat of what was made.
    """

    def __init__(self, folder: Path, ends: Ends = lambda *_: None) -> None:
        self.folder, self.ends = folder, ends
        self.names: list[tuple[str, str, int]] = []
        self._told = 0
        # From several threads, where slots make them.
        self._numbers = count()

    def __call__(
        self, placed: Sequence[Placed], seed: int, *_: object, repeat: int, **__: object
    ) -> Iterator[Result]:
        return in_turn(partial(self._run, each, seed, repeat) for each in placed)

    def _run(self, each: Placed, seed: int, repeat: int) -> Iterator[Result]:
        name, target = each.cell.name, each.cell.target.name
        if (error := self.ends(repeat, target)) is not None:
            raise error
        yield self.one(name, target, repeat, derived(seed, repeat))

    def one(
        self, experiment: str, target: str, repeat: int = 0, seed: int = 1, **more: Any
    ) -> Result:
        """Write one run; on a channel each repeat loses one event more."""
        folder = self.folder / f"20261120T00{next(self._numbers):04}Z-run"
        self.names.append((experiment, target, repeat))
        given: dict[str, Any] = {"lost": 40 + repeat if target == "channel" else 0}
        given |= {"events": 500, "seed": seed, "took_s": TOOK_S} | more
        written = Written(folder, experiment, target, **given)
        return judge_run(written.save()).model_copy(update={"repeat": repeat})

    def made(self) -> list[tuple[str, str, int]]:
        """Return what was made since this was asked last."""
        names, self._told = self.names[self._told :], len(self.names)
        return names


def stand_in(project: Path, patch: pytest.MonkeyPatch) -> Runs:
    """Have runs written into a project's folder in the place of those that would be made."""
    runs = Runs(project / "results" / "runs")
    patch.setattr(_making, "run_all", runs)
    patch.setattr(_making, "prepare", lambda _: None)
    return runs
