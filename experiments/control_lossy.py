"""A known number of events is lost, and the instrument must find that number."""

from harness.experiment import (
    Experiment,
    Observed,
    PlannedFault,
    Trigger,
    Variant,
    steady,
)
from harness.model import Predicted

SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}
EVERY, REMAINDER = 10, 7
PARAMETERS: dict[str, str | int | float] = {
    "table": "notice",
    "every": EVERY,
    "remainder": REMAINDER,
}


def predict(seen: Observed) -> Predicted:
    """Count the events of the schedule that the database refuses."""
    load = seen.load
    lost = sum(len(range(REMAINDER, load.sent_by(producer), EVERY)) for producer in load.ids)
    return Predicted(
        lost=lost,
        duplicated_max=0,
        basis=f"the database refuses each sequence with remainder {REMAINDER} of {EVERY}",
    )


EXPERIMENT = Experiment(
    name="control-lossy",
    hypothesis="When the database refuses known rows, exactly these events are lost.",
    variants=(
        Variant(
            "",
            steady(80, 5),
            (PlannedFault("reject-rows", Trigger(load="before"), None, PARAMETERS),),
            SETTINGS,
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=predict,
    exact=True,
)
