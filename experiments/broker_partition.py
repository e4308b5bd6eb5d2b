"""What each backend acks and loses while its broker cannot be reached."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import broker_away

RATE_PER_S = 80
CUT_S = 4.0
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 5000}

EXPERIMENT = Experiment(
    name="broker-partition",
    hypothesis="While the broker cannot be reached nothing is acked, and so nothing is lost.",
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 15),
            (PlannedFault("partition", Trigger(at_s=4.0), CUT_S),),
            SETTINGS,
        ),
    ),
    targets=("redis-list", "redis", "kafka"),
    predict=broker_away,
)
