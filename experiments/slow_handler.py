"""What a handler manages that takes 6 s an event, and which remedies bring it back (scenario 5)."""

from lossmeter.experiment import Experiment, Load, Phase, Variant
from lossmeter.plan.predict.slow import slow_handler

# 2 s of query, 3 s of an external call and 1 s of logic: 5 workers manage 0.83 events/s. The
# first five come as far apart as the workers then end, so that they do not end all at once.
EVEN_PER_S, EVEN_S = 5 / 6, 6
RATE_PER_S = 2.5
SETTINGS = {
    "handler_time_s": 0,
    "query_s": 2,
    "external_s": 3,
    "logic_s": 1,
    "capacity": 1000,
}

EXPERIMENT = Experiment(
    name="slow-handler",
    hypothesis=(
        "Five workers that need 6 s an event persist 0.83 events/s; keeping the query's "
        "answer makes that 1.25, and slow work aside, or more workers, as many as come."
    ),
    variants=(
        Variant(
            "",
            # One producer, so one key: its query is asked once.
            Load((Phase(EVEN_PER_S, EVEN_S), Phase(RATE_PER_S, 6)), producers=1),
            (),
            SETTINGS,
            requires=("query_s", "external_s", "logic_s"),
        ),
    ),
    targets=("channel", "channel-cache", "channel-aside", "channel-workers"),
    predict=slow_handler,
)
