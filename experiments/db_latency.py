"""What a database manages whose answers come 250 ms or 2 s late (scenario 3)."""

from functools import partial

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import database_slow

RATE_PER_S = 50
LATE_AT_S = 3.0
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000}
# Long enough for all of these at 2 s each, so no insert fails of it; but for the last variant.
PATIENT_S, IMPATIENT_S = 25.0, 1.0


def _late(latency_ms: int, hold_s: float) -> tuple[PlannedFault]:
    parameters: dict[str, str | int | float] = {"latency_ms": latency_ms}
    return (PlannedFault("latency", Trigger(at_s=LATE_AT_S), hold_s, parameters),)


_variant = partial(Variant, requires=("database_timeout_s",))

EXPERIMENT = Experiment(
    name="db-latency",
    hypothesis=(
        "Late answers of the database lose nothing as long as inserts may wait for them, and "
        "leave as many events per second as workers wait; where they may not, events are lost."
    ),
    variants=(
        _variant(
            "250ms",
            steady(RATE_PER_S, 10),
            _late(250, 5),
            {**SETTINGS, "database_timeout_s": PATIENT_S},
        ),
        _variant(
            "2s",
            steady(RATE_PER_S, 13),
            _late(2000, 9),
            {**SETTINGS, "database_timeout_s": PATIENT_S},
        ),
        _variant(
            "2s-impatient",
            steady(RATE_PER_S, 9),
            _late(2000, 4),
            {**SETTINGS, "database_timeout_s": IMPATIENT_S},
            targets=("channel", "channel-retry"),
        ),
    ),
    targets=("channel", "redis"),
    predict=database_slow,
)
