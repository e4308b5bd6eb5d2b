"""At which step of its way each event was when a fault struck, and what became of it.

Pure: marks, what answers producers got, and the moment in; arrays out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossmeter.experiment import STEPS, Step
from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.stages import last_marks
from lossmeter.model import Status
from lossmeter.record.arrays import Operations, Records, keys
from lossmeter.record.mark_format import EVERY, MARK, Stage


@dataclass(frozen=True, slots=True)
class AtStep:
    """One step when the fault struck.

    Attributes:
        there: events that had come so far and no farther; for ``committed`` all before.
        lost, duplicated: of these, in the end.
    """

    there: int = 0
    lost: int = 0
    duplicated: int = 0


def struck_at(
    marks: Records, operations: Operations, ledger: Ledger, at_ns: int
) -> Mapping[str, AtStep]:
    """Return for each step what was there at a moment, and what became of it."""
    last = last_marks(marks[marks["at_ns"] <= at_ns])
    acked = operations.outcomes[
        (operations.outcomes["status"] == Status.ACKED) & (operations.outcomes["done_ns"] <= at_ns)
    ]
    steps = _steps(last)
    steps[(steps == Step.ENQUEUED) & np.isin(keys(last), keys(acked))] = Step.ACKED
    lost = np.isin(keys(last), keys(ledger.lost))
    twice = np.isin(keys(last), keys(ledger.duplicated))
    return {
        name: AtStep(
            int((steps == name).sum()),
            int((lost & (steps == name)).sum()),
            int((twice & (steps == name)).sum()),
        )
        for name in STEPS
    }


def dwell_s(marks: Records) -> Mapping[str, float]:
    """Return the median time in seconds that events stay at each step that marks bound."""
    chosen = marks[marks["producer"] != EVERY[0]]
    order = np.lexsort((chosen["at_ns"], keys(chosen), chosen["life"]))
    ordered: Records = chosen[order] if len(chosen) else np.empty(0, MARK)
    steps = _steps(ordered)
    # Several marks of one step in a row are one stay.
    fresh = np.append(True, (keys(ordered)[1:] != keys(ordered)[:-1]) | (steps[1:] != steps[:-1]))
    ordered, steps = ordered[fresh[: len(ordered)]], steps[fresh[: len(steps)]]
    same: npt.NDArray[np.bool_] = keys(ordered)[1:] == keys(ordered)[:-1]
    took_s = np.diff(ordered["at_ns"]) / 1e9
    stays = {step: took_s[same & (steps[:-1] == step)] for step in STEPS}
    return {step: float(np.median(stay)) for step, stay in stays.items() if len(stay)}


def _steps(marks: Records) -> npt.NDArray[np.str_]:
    return np.array([Stage(stage).step or "" for stage in marks["stage"]], "U16")
