"""Nothing goes wrong, so nothing may be lost: the instrument's own zero."""

from lossmeter.experiment import Experiment, Variant, steady
from lossmeter.plan.predict.named import no_loss

SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}

EXPERIMENT = Experiment(
    name="control",
    hypothesis="Without a fault and below capacity every acked event is persisted exactly once.",
    variants=(Variant("", steady(80, 5), (), SETTINGS),),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=no_loss,
)
