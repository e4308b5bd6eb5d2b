"""What each backend acks and loses while its broker cannot be reached."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.broker import Away, away

RATE_PER_S = 80
CUT_S = 4.0
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 5000}


def predict(seen: Observed) -> Predicted:
    """Expect nothing to be lost, and nobody to be acked while the way is cut."""
    broker = next((name for name in ("redis", "kafka") if name in seen.services), "")
    return away(
        Away(
            broker=broker,
            held_s=seen.held_s,
            killed=False,
            queue_length=seen.queue_length,
            in_hand_survives=bool(seen.in_hand_survives_crash),
            workers=int(seen.settings.get("workers", 0)),
            rate_per_s=RATE_PER_S,
            choices=seen.choices,
        )
    )


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
    predict=predict,
)
