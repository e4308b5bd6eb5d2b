"""What each backend keeps up with: the same dispatcher at each rate of the analysis."""

from harness.experiment import Experiment, Load, Observed, Phase, Variant
from harness.model import Expected, Predicted
from harness.predict.queue import Dispatcher

RATES_PER_S = (100, 200, 1000, 2000)
LOAD_S = 8
# Enough hands that the backend is the limit and not the handler: 32 / 10 ms = 3200 events/s.
SETTINGS = {"workers": 32, "handler_time_s": 0.01, "capacity": 1000, "push_timeout_s": 1}
# Pushes that wait a second for room, at the highest rate and twice over: the schedule is kept
# also where the target cannot keep up.
MAX_IN_FLIGHT = 4000
TOLERANCE = 0.03


def predict(seen: Observed) -> Predicted:
    """Expect no loss, and as much out as in, as long as the workers can."""
    rate_per_s = seen.load.events / seen.load.duration_s
    modelled = Dispatcher(
        rate_per_s,
        workers=int(seen.settings.get("workers", SETTINGS["workers"])),
        handler_time_s=seen.settings.get("handler_time_s", SETTINGS["handler_time_s"]),
        capacity=int(seen.settings.get("capacity", SETTINGS["capacity"])),
    )
    throughput = modelled.throughput_per_s
    return Predicted(
        lost=0,
        duplicated_max=0,
        basis=f"no fault, {modelled.basis}",
        figures=(
            Expected(
                "throughput_per_s",
                throughput,
                TOLERANCE * throughput,
                f"the first and last of {LOAD_S} s of load are not cut sharply",
            ),
            Expected("refused", 0, 0, "the workers keep the queue empty"),
        ),
    )


EXPERIMENT = Experiment(
    name="rates",
    hypothesis=(
        "Below what its backend and database can take, a dispatcher persists events as fast as "
        "they come, loses none and refuses none."
    ),
    variants=tuple(
        Variant(str(rate), Load((Phase(rate, LOAD_S),), max_in_flight=MAX_IN_FLIGHT), (), SETTINGS)
        for rate in RATES_PER_S
    ),
    targets=("channel", "redis-list", "redis", "redis-batch", "kafka", "kafka-batch"),
    predict=predict,
)
