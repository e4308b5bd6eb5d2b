"""Nothing goes wrong, so nothing may be lost: the instrument's own zero."""

from harness.experiment import Experiment, Observed, Variant, steady
from harness.model import Predicted

SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}


def predict(seen: Observed) -> Predicted:
    """Expect no loss: 80 events/s are within the capacity of 100 events/s."""
    return Predicted(lost=0, duplicated_max=0, basis=f"no fault, {seen.load.events} events")


EXPERIMENT = Experiment(
    name="control",
    hypothesis="Without a fault and below capacity every acked event is persisted exactly once.",
    variants=(Variant("", steady(80, 5), (), SETTINGS),),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=predict,
)
