"""What survives when the machine with the dispatcher and all its servers loses power."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import power_loss

RATE_PER_S = 200
SETTINGS: dict[str, str | int | float] = {"workers": 5, "handler_time_s": 0.05, "capacity": 5000}
ALWAYS = {"redis.appendfsync": "always", "kafka.log.flush.interval.messages": "1"}


_CUT = (PlannedFault("power-loss", Trigger(condition="queue_length >= 500", at_s=5.5)),)
_LOAD = steady(RATE_PER_S, 8)

EXPERIMENT = Experiment(
    name="power-loss",
    hypothesis=(
        "A loss of power takes what was in memory, and of what a broker or a database had "
        "acked all that it had not flushed: the last second of Redis by default, nothing if it "
        "flushes always, everything of one Kafka node that leaves it to the kernel."
    ),
    variants=(
        Variant("", _LOAD, _CUT, SETTINGS),
        Variant(
            "flush-always",
            _LOAD,
            _CUT,
            {**SETTINGS, **ALWAYS},
            targets=("redis", "kafka"),
            remedy_of="default",
        ),
        Variant(
            "flush-never",
            _LOAD,
            _CUT,
            {**SETTINGS, "redis.appendfsync": "no"},
            targets=("redis",),
        ),
        Variant(
            "async-commit",
            _LOAD,
            _CUT,
            {**SETTINGS, "postgres.synchronous_commit": "off"},
            targets=("channel",),
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=power_loss,
)
