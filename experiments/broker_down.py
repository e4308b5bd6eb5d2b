"""What each backend acks and loses while its broker is dead and comes back."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.broker import Away, away

RATE_PER_S = 150
DOWN_S = 2.0
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 5000}


def predict(seen: Observed) -> Predicted:
    """Expect a durable broker to lose nothing, and nobody to be acked while it is away."""
    broker = next((name for name in ("redis", "kafka") if name in seen.services), "")
    return away(
        Away(
            broker=broker,
            held_s=seen.held_s,
            killed=True,
            queue_length=seen.queue_length,
            in_hand_survives=bool(seen.in_hand_survives_crash),
            workers=int(seen.settings.get("workers", 0)),
            rate_per_s=RATE_PER_S,
            choices=seen.choices,
        )
    )


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
    predict=predict,
)
