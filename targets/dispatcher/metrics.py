"""The metrics that every dispatcher exposes, in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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


class Metrics:
    """Counts, and the gauges that the analysis names.

    ``message_failure_rate`` is failed handlings / all handlings, ``message_drop_rate`` is
    dropped events / events offered; both since the start of the process.
    ``message_process_latency`` is in seconds, from accepted until persisted.
    """

    def __init__(self, capacity: int) -> None:
        self._registry = CollectorRegistry()
        self._counts = dict.fromkeys(COUNTED, 0)
        self._counters = {
            name: Counter(f"messages_{name}", f"events {name}", registry=self._registry)
            for name in COUNTED
        }
        self._length = self._gauge("queue_length", "events waiting in the queue")
        self._usage = self._gauge("queue_usage_percent", "queue_length / queue_capacity * 100")
        self._failure = self._gauge("message_failure_rate", "failed handlings / all handlings")
        self._drop = self._gauge("message_drop_rate", "dropped events / events offered")
        self._gauge("queue_capacity", "events that the queue holds").set(capacity)
        self._capacity = capacity
        self.latency = Histogram(
            "message_process_latency",
            "seconds from accepted until persisted",
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )

    def count(self, name: str) -> None:
        """Add one to a count of ``COUNTED``."""
        self._counts[name] += 1
        self._counters[name].inc()

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


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
