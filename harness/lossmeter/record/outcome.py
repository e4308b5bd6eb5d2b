"""What became of each experiment and target that was asked for: a result, or why there is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from lossmeter.errors import ExitCode
from lossmeter.record.result import Result, exit_code


class Lack(StrEnum):
    """Why there is no result; none of these is ever a pass."""

    SKIPPED = "skipped"
    MISSING = "missing"
    DAMAGED = "damaged"


_LACKING = {Lack.MISSING: ExitCode.NOTHING_JUDGED, Lack.DAMAGED: ExitCode.HARNESS_ERROR}


@dataclass(frozen=True, slots=True)
class Unjudged:
    """One experiment and target without a result.

    Attributes:
        target, runtime: as in a result; ``any`` where it was not asked for by name.
        verdict: ``skipped`` when the runtime lacks what it needs, ``missing`` when it was
            asked for and has no run, ``damaged`` when its folder cannot be read.
    """

    experiment: str
    target: str
    runtime: str
    verdict: Lack
    reason: str

    def to_json(self) -> str:
        """Return it in the layout of a result, with what there is of one."""
        return json.dumps({"schema": 1, **asdict(self)})


Outcome = Result | Unjudged


def results_in(outcomes: Sequence[Outcome]) -> list[Result]:
    """Return the outcomes that are results."""
    return [outcome for outcome in outcomes if isinstance(outcome, Result)]


def overall(outcomes: Sequence[Outcome]) -> ExitCode:
    """Return the exit code of all: the gravest decides.

    A skip decides nothing, and skips alone are nothing judged.
    """
    kinds = {outcome.verdict for outcome in outcomes if isinstance(outcome, Unjudged)}
    lacks = [code for kind, code in _LACKING.items() if kind in kinds]
    return ExitCode.gravest([exit_code(results_in(outcomes)), *lacks])


def reported(outcomes: Sequence[Outcome]) -> str:
    """Return how many outcomes there are of each kind, e.g. ``3 pass, 1 fail``."""
    return counted(outcome.verdict for outcome in outcomes) or "nothing judged"


def counted(kinds: Iterable[str]) -> str:
    """Return how many there are of each kind, in the order in which they come."""
    return ", ".join(f"{number} {kind}" for kind, number in Counter(kinds).items())
