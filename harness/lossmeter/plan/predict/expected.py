"""What an experiment should show, before it is run: its own prediction, of a run as planned.

The queue at the fault is the length that the fault waits for, or the model's at its time.
"""

from __future__ import annotations

import re

from lossmeter.experiment import Observed, PlannedFault
from lossmeter.model import Predicted
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.contradictions import longest

_LENGTH = re.compile(r"queue_length\s*>=?\s*(\d+)")


def expected(cell: Cell) -> Predicted:
    """Return what a cell's experiment predicts of a run in which all goes as planned."""
    return cell.experiment.predict(_as_planned(cell))


def _as_planned(cell: Cell) -> Observed:
    load, numbers, behaviour = cell.variant.load, cell.numbers(), cell.target.behaviour
    last = max(cell.variant.faults, key=_comes, default=None)
    workers, handler_s = numbers.get("workers"), numbers.get("handler_time_s")
    given = last.parameters if last else {}
    struck_s, queued = None, None
    if last is not None:
        struck_s = last.trigger.at_s if last.trigger.condition is None else None
        if match := _LENGTH.search(last.trigger.condition or ""):
            queued = int(match[1])
        elif workers and handler_s and struck_s is not None:
            queued = round(longest(load, workers / handler_s, struck_s))
            queued = min(queued, int(numbers.get("capacity", queued)))
    return Observed(
        load=load,
        settings=numbers,
        queue_survives_crash=behaviour.queue_survives_crash,
        in_hand_survives_crash=behaviour.in_hand_survives_crash,
        queue_length=queued,
        in_flight=None if workers is None else int(workers),
        blind_s=0.0,
        choices=cell.choices(),
        services=cell.target.services,
        held_s=last.hold_s if last else None,
        struck=last is not None,
        parameters={n: float(v) for n, v in given.items() if not isinstance(v, str)},
        fault=last.fault if last else "",
        at_s=last.trigger.at_s if last else 0.0,
        hold_s=last.hold_s if last else None,
        struck_s=struck_s,
        instances=cell.variant.instances,
    )


def _comes(planned: PlannedFault) -> tuple[bool, float]:
    """Return what orders faults by when they come; conditions are met later than any time."""
    return planned.trigger.condition is not None, planned.trigger.at_s
