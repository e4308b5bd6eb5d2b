"""What each backend keeps up with when all have the same settings, whatever suits them."""

from lossmeter.experiment import Experiment, Load, Phase, Variant
from lossmeter.plan.predict.named import throughput

RATES_PER_S = (100, 200, 1000, 2000)
LOAD_S = 8
# Enough hands that the backend is the limit and not the handler: 32 / 10 ms = 3200 events/s.
SETTINGS = {"workers": 32, "handler_time_s": 0.01, "capacity": 1000, "push_timeout_s": 1}
# Pushes that wait a second for room, at the highest rate and twice over: the schedule is kept
# also where the target cannot keep up.
MAX_IN_FLIGHT = 4000

EXPERIMENT = Experiment(
    name="equal-rates",
    hypothesis=(
        "With the same workers and the same room as all others, a dispatcher persists events as "
        "fast as they come, loses none and refuses none."
    ),
    variants=tuple(
        Variant(str(rate), Load((Phase(rate, LOAD_S),), max_in_flight=MAX_IN_FLIGHT), (), SETTINGS)
        for rate in RATES_PER_S
    ),
    targets=("channel", "redis-list", "redis", "redis-batch", "kafka", "kafka-batch"),
    predict=throughput,
    alone=True,
    # It compares what nobody would set up so, and nothing may run beside it.
    by_name_only=True,
)
