"""What each backend acks and loses while its broker is dead and comes back."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import broker_away

RATE_PER_S = 150
DOWN_S = 2.0
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 5000}


_KILL = (PlannedFault("server-kill", Trigger(at_s=4.0), DOWN_S),)

EXPERIMENT = Experiment(
    name="broker-down",
    hypothesis=(
        "A broker that is killed and comes back on its data has lost nothing that it acked; "
        "without an append-only file, or without acknowledgements, it has."
    ),
    variants=(
        Variant("", steady(RATE_PER_S, 15), _KILL, SETTINGS),
        Variant(
            "in-memory",
            steady(RATE_PER_S, 10),
            _KILL,
            {**SETTINGS, "redis.appendonly": "no"},
            targets=("redis",),
        ),
        Variant(
            "no-acks",
            steady(RATE_PER_S, 15),
            _KILL,
            {**SETTINGS, "acks": "0"},
            targets=("kafka",),
            requires=("acks",),
        ),
    ),
    targets=("redis-list", "redis", "kafka"),
    predict=broker_away,
)
