"""What a slow handler manages, and what becomes of it with a cache or with slow work aside."""

from __future__ import annotations

import heapq
from dataclasses import replace

from lossmeter.experiment import Observed
from lossmeter.model import Predicted, plural
from lossmeter.plan.predict.overload import Busy, arrivals, intake_of, simulate
from lossmeter.plan.predict.safe import figure

# Timers and inserts of a busy machine, as a share of the whole.
BUSY_SHARE = 0.06


def slow_handler(seen: Observed) -> Predicted:
    """Predict the throughput of a handler that queries, calls and thinks for each event."""
    intake, numbers = intake_of(seen), seen.settings
    if intake is None:
        return Predicted(basis="the target file does not tell workers, handler and capacity")
    query_s = numbers.get("query_s", 0.0)
    rest_s = numbers.get("external_s", 0.0) + numbers.get("logic_s", 0.0)
    whole = replace(intake, handler_time_s=intake.handler_time_s + query_s + rest_s)
    how, busy = "", None
    if cache_s := numbers.get("cache_s"):
        how = f", the query's answer kept for {cache_s:g} s"
        own_s = intake.handler_time_s + rest_s
        busy = _with_cache(own_s, query_s, cache_s, len(seen.load.ids))
    elif at_once := int(numbers.get("aside", 0)):
        how = f", of it all but {intake.handler_time_s:g} s aside, {at_once} at once"
        busy = _aside(intake.handler_time_s, query_s + rest_s, at_once)
    flow = simulate(arrivals(seen.load), whole, busy)
    throughput = flow.throughput_per_s or 0.0
    return Predicted(
        lost=0,
        duplicated_max=0,
        basis=f"{plural(intake.workers, 'worker')} of {whole.handler_time_s:g} s an event{how}",
        figures=(
            figure(
                "throughput_per_s",
                throughput,
                BUSY_SHARE * throughput,
                3,
                f"timers and inserts of a busy machine may take {BUSY_SHARE:.0%} more",
            ),
        ),
    )


def _with_cache(own_s: float, query_s: float, cache_s: float, keys: int) -> Busy:
    """Return how long a worker takes when answers are kept, each key's by itself."""
    ready: dict[int, float] = {}

    def busy(place: int, takes: float) -> float:
        key = place % keys
        if key not in ready or takes >= ready[key] + cache_s:
            ready[key] = takes + query_s
        return max(0.0, ready[key] - takes) + own_s

    return busy


def _aside(own_s: float, slow_s: float, at_once: int) -> Busy:
    """Return how long a worker takes when the slow part is done beside it, if there is room."""
    ends: list[float] = []

    def busy(_: int, takes: float) -> float:
        begins = takes + own_s
        if len(ends) >= at_once:
            begins = max(begins, heapq.heappop(ends))
        heapq.heappush(ends, begins + slow_s)
        return begins - takes

    return busy
