"""The metrics that every dispatcher exposes, in Prometheus' format.

Counting happens for every event and reading every few seconds, so counts are plain numbers
and become metrics when they are read. All of it is on the event loop's thread.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, float("inf"))

COUNTED = (
    "accepted",
    "dropped",
    "without_room",
    "persisted",
    "failed",
    "retried",
    "redelivered",
    "dead_lettered",
    "replayed",
)


class Latency:
    """A histogram of seconds.

    Args:
        buckets: upper bounds, ascending; the last is infinity.
    """

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._bounds = buckets
        self._counts = [0] * len(buckets)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """Return it as Prometheus has it: each bucket counts those below it too."""
        bounds = ["+Inf" if math.isinf(bound) else str(float(bound)) for bound in self._bounds]
        buckets = list(zip(bounds, accumulate(map(float, self._counts)), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class Metrics:
    """Counts, and the gauges that the analysis names.

    ``message_failure_rate`` is failed handlings / all handlings, ``message_drop_rate`` is
    dropped events / events offered; both since the start of the process.
    ``message_process_latency`` is in seconds, from accepted until persisted.
    """

    def __init__(self, capacity: int) -> None:
        self._registry = CollectorRegistry()
        self._counts = dict.fromkeys(COUNTED, 0)
        self.latency = Latency(LATENCY_BUCKETS)
        self._registry.register(_Counted(self))
        self._length = self._gauge("queue_length", "events waiting in the queue")
        self._usage = self._gauge("queue_usage_percent", "queue_length / queue_capacity * 100")
        self._failure = self._gauge("message_failure_rate", "failed handlings / all handlings")
        self._drop = self._gauge("message_drop_rate", "dropped events / events offered")
        self._gauge("queue_capacity", "events that the queue holds").set(capacity)
        self._capacity = capacity

    def count(self, name: str) -> None:
        """Add one to a count of ``COUNTED``."""
        self._counts[name] += 1

    def counts(self) -> dict[str, int]:
        """Return all counts."""
        return dict(self._counts)

    def page(self, queue_length: int | None) -> bytes:
        """Return the metrics page; an unknown length is not a number."""
        length = float("nan") if queue_length is None else float(queue_length)
        self._length.set(length)
        self._usage.set(length / self._capacity * 100)
        counts = self._counts
        self._failure.set(_ratio(counts["failed"], counts["failed"] + counts["persisted"]))
        self._drop.set(_ratio(counts["dropped"], counts["dropped"] + counts["accepted"]))
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry)


class _Counted(Collector):
    """Turns counts into metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Return the counts as they are now."""
        for name, value in self._metrics.counts().items():
            yield CounterMetricFamily(f"messages_{name}", f"events {name}", value)
        yield self._metrics.latency.family(
            "message_process_latency", "seconds from accepted until persisted"
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
