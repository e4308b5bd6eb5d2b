"""Counts kept as plain numbers read as prometheus_client's own metrics do."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lossmeter_dispatcher.metrics import LATENCY_BUCKETS, Metrics

SECONDS = (0.0, 0.01, 0.0100001, 0.05, 0.06, 0.1, 4.9, 5, 60, 60.1, 1e6)


def _samples(page: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_histogram_and_a_counter_read_as_those_of_the_library() -> None:
    ours, registry = Metrics(10), CollectorRegistry()
    name, text = "message_process_latency", "seconds from accepted until persisted"
    histogram = Histogram(name, text, buckets=LATENCY_BUCKETS, registry=registry)
    counter = Counter("messages_persisted", "events persisted", registry=registry)
    for seconds in SECONDS:
        ours.latency.observe(seconds)
        ours.count("persisted")
        histogram.observe(seconds)
        counter.inc()
    theirs = _samples(generate_latest(registry))
    page = _samples(ours.page(3))
    assert {key: page[key] for key in theirs} == theirs


def test_rates_come_from_the_counts() -> None:
    metrics = Metrics(10)
    for name, times in (("accepted", 3), ("dropped", 1), ("persisted", 2), ("failed", 2)):
        for _ in range(times):
            metrics.count(name)
    page = _samples(metrics.page(5))
    assert page["message_drop_rate", ""] == 0.25
    assert page["message_failure_rate", ""] == 0.5
    assert page["queue_usage_percent", ""] == 50
    assert metrics.counts()["accepted"] == 3
