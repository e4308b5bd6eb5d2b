"""What is lost by a stop that waits for nothing: ``docker stop --time=0`` (scenario 4)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import stop

RATE_PER_S = 200
GRACE_S = 0
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}

EXPERIMENT = Experiment(
    name="stop-now",
    hypothesis="A stop without a grace sends SIGTERM first, and loses as much as SIGKILL.",
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 8),
            (
                PlannedFault(
                    "stop",
                    Trigger(condition="queue_length >= 500", at_s=5.0),
                    parameters={"grace_s": GRACE_S},
                ),
            ),
            SETTINGS,
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=stop,
)
