"""What is lost when the dispatcher aborts by an error that nobody handles (scenario 1)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import kill

RATE_PER_S = 200
SETTINGS: dict[str, str | int | float] = {
    "workers": 5,
    "handler_time_s": 0.05,
    "capacity": 1000,
    "panic_endpoint": "true",
}

EXPERIMENT = Experiment(
    name="panic",
    hypothesis="A dispatcher that aborts by an unhandled error loses as much as by SIGKILL.",
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 8),
            (PlannedFault("panic", Trigger(condition="queue_length >= 500", at_s=5.0)),),
            SETTINGS,
            requires=("panic_endpoint",),
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=kill,
)
