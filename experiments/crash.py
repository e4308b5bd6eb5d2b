"""What is lost when the dispatcher is killed while events are queued (scenario 1)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import kill

# 200 events/s against 5 workers of 50 ms: the backlog grows by 100 events/s.
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}
RATE_PER_S = 200


def _kill(condition: str, at_s: float) -> PlannedFault:
    return PlannedFault("sigkill", Trigger(condition=condition, at_s=at_s))


EXPERIMENT = Experiment(
    name="crash",
    hypothesis=(
        "A dispatcher that is killed loses what it held in memory and nothing else: "
        "the queue and the workers' hands for a channel, the hands for a plain Redis list, "
        "nothing for a Redis stream or Kafka."
    ),
    variants=(
        Variant("", steady(RATE_PER_S, 9), (_kill("queue_length >= 500", 5.0),), SETTINGS),
        Variant("full", steady(RATE_PER_S, 12.5), (_kill("queue_length >= 1000", 10.5),), SETTINGS),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=kill,
)
