"""A known number of events is lost, and the instrument must find that number."""

from lossmeter.experiment import (
    Experiment,
    PlannedFault,
    Trigger,
    Variant,
    steady,
)
from lossmeter.plan.predict.named import known_rows

SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}
EVERY, REMAINDER = 10, 7
PARAMETERS: dict[str, str | int | float] = {
    "table": "notice",
    "every": EVERY,
    "remainder": REMAINDER,
}

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
    predict=known_rows,
    exact=True,
)
