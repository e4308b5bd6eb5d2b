"""At which step of its way each event was when a fault struck, and what became of it.

Pure: marks, what producers were told, and the moment in; arrays out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.experiment import STEPS
from harness.ledger.records import Ledger, Records, Told, keys
from harness.ledger.stages import EVERY, MARK, Stage, last_marks
from harness.model import Status

_STEP_OF = {
    Stage.ACCEPTED: "accepted",
    Stage.QUEUED: "enqueued",
    Stage.REQUEUED: "enqueued",
    Stage.TAKEN: "dequeued",
    Stage.HANDLING: "dequeued",
    Stage.RETRYING: "dequeued",
    Stage.PERSISTED: "inserted",
    Stage.ACKNOWLEDGED: "committed",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step when the fault struck.

    Attributes:
        there: events that had come so far and no farther; for ``committed`` all before.
        lost, duplicated: of these, in the end.
    """

    there: int = 0
    lost: int = 0
    duplicated: int = 0


def step_of(stage: int) -> str | None:
    """Return the step that an event with this last mark is at, before its producer is told."""
    return _STEP_OF.get(Stage(stage))


def struck_at(marks: Records, told: Told, ledger: Ledger, at_ns: int) -> Mapping[str, Step]:
    """Return for each step what was there at a moment, and what became of it.

    Args:
        marks: dtype MARK.
        told: what producers were told.
        ledger: what became of every event.
        at_ns: wall clock.
    """
    last = last_marks(marks[marks["at_ns"] <= at_ns])
    acked = told.outcomes[
        (told.outcomes["status"] == Status.ACKED) & (told.outcomes["done_ns"] <= at_ns)
    ]
    steps = _steps(last)
    steps[(steps == "enqueued") & np.isin(keys(last), keys(acked))] = "acked"
    lost = np.isin(keys(last), keys(ledger.lost))
    twice = np.isin(keys(last), keys(ledger.duplicated))
    return {
        name: Step(
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
    return np.array([_STEP_OF.get(Stage(stage), "") for stage in marks["stage"]], "U16")
