"""What survives when the machine with the dispatcher and all its servers loses power."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.crash import at_kill
from harness.predict.power import Machine, power_loss

RATE_PER_S = 200
SETTINGS: dict[str, str | int | float] = {"workers": 5, "handler_time_s": 0.05, "capacity": 5000}
ALWAYS = {"redis.appendfsync": "always", "kafka.log.flush.interval.messages": "1"}


def predict(seen: Observed) -> Predicted:
    """Expect memory to be gone, and what the broker had acked and not flushed."""
    workers = seen.settings.get("workers", 0)
    handler_time_s = seen.settings.get("handler_time_s")
    if not handler_time_s:
        return Predicted(basis="the target file does not say how long a handler takes")
    return power_loss(
        Machine(
            at=at_kill(seen, RATE_PER_S),
            service_rate_per_s=workers / handler_time_s,
            queue_survives=seen.queue_survives_crash,
            in_hand_survives=seen.in_hand_survives_crash,
            services=seen.services,
            choices=seen.choices,
        )
    )


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
        Variant("flush-always", _LOAD, _CUT, {**SETTINGS, **ALWAYS}, targets=("redis", "kafka")),
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
    predict=predict,
)
