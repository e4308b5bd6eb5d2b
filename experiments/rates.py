"""What each backend keeps up with at its best: the same dispatcher at each rate of the analysis."""

from lossmeter.experiment import Experiment, Load, Phase, Variant
from lossmeter.plan.predict.named import throughput

RATES_PER_S = (100, 200, 1000, 2000, 5000, 10_000)
LOAD_S = 8
# For those whose file has nothing under [tuned]. Enough hands that the backend is the limit and
# not the handler: 32 / 10 ms = 3200 events/s.
SETTINGS = {"workers": 32, "handler_time_s": 0.01, "capacity": 1000, "push_timeout_s": 1}
# Pushes that wait a second for room, at the highest rate and more: the schedule is kept also
# where the target cannot keep up.
MAX_IN_FLIGHT = 12_000

EXPERIMENT = Experiment(
    name="rates",
    hypothesis=(
        "Below what its backend and database can take, a dispatcher that is set up as suits it "
        "persists events as fast as they come, loses none and refuses none."
    ),
    variants=tuple(
        Variant(
            str(rate),
            Load((Phase(rate, LOAD_S),), max_in_flight=MAX_IN_FLIGHT),
            (),
            SETTINGS,
            tuned=True,
        )
        for rate in RATES_PER_S
    ),
    targets=("channel", "redis-list", "redis", "redis-batch", "kafka", "kafka-batch"),
    predict=throughput,
    alone=True,
)
