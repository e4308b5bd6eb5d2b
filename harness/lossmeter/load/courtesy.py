"""Locust's own statistics, for those who look at its output; nothing is judged by them."""

from __future__ import annotations

import time
from collections import Counter

import gevent
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry, StatsError

from lossmeter.load.carrier import Carrier

_EVERY_S = 1.0


class Courtesy:
    """Passes on what answers a carrier got, in one go for many events.

    Locust's event for each request costs more than sending it.
    """

    def __init__(self, environment: Environment, path: str, carrier: Carrier) -> None:
        self._stats: RequestStats = environment.stats
        self._path = path
        self._carrier = carrier

    def keep_up(self) -> None:
        """Pass on once a second, until this greenlet is killed."""
        while True:
            gevent.sleep(_EVERY_S)
            self.pass_on()

    def pass_on(self) -> None:
        """Pass on what came since the last time."""
        carrier = self._carrier
        latencies_ns, carrier.latencies_ns = carrier.latencies_ns, []
        bad, carrier.not_accepted = carrier.not_accepted, Counter()
        if not latencies_ns:
            return
        # The first of each kind is counted by Locust, with its error.
        again = bad.total() - len(bad)
        entry = self._entry([max(0, each // 1_000_000) for each in latencies_ns], again)
        self._stats.entries[self._path, "POST"].extend(entry)
        self._stats.total.extend(entry)
        for code, times in bad.items():
            error = f"answer {code}"
            self._stats.log_error("POST", self._path, error)
            key = StatsError.create_key("POST", self._path, error)
            self._stats.errors[key].occurrences += times - 1

    def _entry(self, latencies_ms: list[int], failures: int) -> StatsEntry:
        second = int(time.time())
        entry = StatsEntry(self._stats, self._path, "POST")
        entry.num_requests = len(latencies_ms)
        entry.num_failures = failures
        entry.total_response_time = sum(latencies_ms)
        entry.min_response_time, entry.max_response_time = min(latencies_ms), max(latencies_ms)
        entry.last_request_timestamp = time.time()
        entry.num_reqs_per_sec[second] = len(latencies_ms)
        entry.num_fail_per_sec[second] = failures
        entry.response_times.update(Counter(map(_rounded, latencies_ms)))
        return entry


def _rounded(latency_ms: int) -> int:
    """Round as Locust does, to two digits, so that its table stays small."""
    digits = len(str(latency_ms))
    return latency_ms if digits < 3 else round(latency_ms, 2 - digits)
