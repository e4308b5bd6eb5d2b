"""Alerting rules by a faster clock, and what is read off Prometheus' answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lossmeter.errors import UnavailableError, UsageError
from lossmeter.model import Counts
from lossmeter.record.alerts import Alert, Monitoring, Rule, read_alerts, read_monitoring
from lossmeter.record.result import Result
from lossmeter.report.alerts import AlertMoment, clock_in_words, rule_lines, span
from lossmeter.run.monitor import install as installing
from lossmeter.run.monitor.rules import (
    alert_rules,
    compressed,
    compressed_expression,
    milliseconds,
    read_yaml,
    shorter,
)
from lossmeter.run.monitor.watch import (
    actives,
    addresses,
    configuration,
    fired,
    stretches,
    watch,
)
from tests.support.judged_runs import Run

MONITORING = Path(__file__).resolve().parents[2] / "targets" / "monitoring"


@pytest.mark.parametrize(
    ("duration", "ms"),
    [("5m", 300_000), ("1m30s", 90_000), ("250ms", 250), ("0s", 0), ("0", 0), ("1d", 86_400_000)],
)
def test_durations(duration: str, ms: int) -> None:
    assert milliseconds(duration) == ms


@pytest.mark.parametrize("duration", ["", "5", "m", "5 m", "1.5m", "five"])
def test_what_is_no_duration(duration: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        milliseconds(duration)


def test_a_duration_never_becomes_nothing() -> None:
    assert shorter("15s", 60) == "250ms"
    assert shorter("1ms", 60) == "1ms"
    assert shorter("0s", 60) == "0ms"


@pytest.mark.parametrize(
    ("expression", "faster"),
    [
        ("rate(a_total[5m]) > 0.05", "rate(a_total[5000ms]) > 0.05"),
        ("max_over_time(a[10m:30s] offset 1m)", "max_over_time(a[10000ms:500ms] offset 1000ms)"),
        ("max_over_time(a[1m:])", "max_over_time(a[1000ms:])"),
        ("a offset -1m30s", "a offset -1500ms"),
        ('a{path="[5m] offset 1m"} > 1', 'a{path="[5m] offset 1m"} > 1'),
        ("a{path='\\'[5m]'}[1m]", "a{path='\\'[5m]'}[1000ms]"),
        ("queue_usage_percent > 80", "queue_usage_percent > 80"),
    ],
)
def test_windows_and_offsets_are_divided_and_nothing_else(expression: str, faster: str) -> None:
    assert compressed_expression(expression, 60) == faster


def test_the_five_rules_of_the_analysis() -> None:
    reported = [
        (rule.severity, rule.expression, rule.for_s)
        for rule in alert_rules(read_yaml(MONITORING / "alerts.yml"))
    ]
    p99 = (
        "histogram_quantile(0.99, sum by (instance, le) "
        "(rate(message_process_latency_bucket[1m]))) > 1"
    )
    assert reported == [
        ("warning", "queue_usage_percent > 80", 300),
        ("critical", "queue_usage_percent > 95", 60),
        ("warning", "message_failure_rate > 0.01", 300),
        ("critical", "message_failure_rate > 0.05", 60),
        ("warning", p99, 300),
    ]


def test_compressed_rules_leave_the_true_ones_alone() -> None:
    rules = read_yaml(MONITORING / "alerts.yml")
    before = alert_rules(rules)
    faster = compressed(rules, 60)
    assert alert_rules(rules) == before
    assert [rule.for_s for rule in alert_rules(faster)] == [5, 1, 5, 1, 5]
    labels = [rule["labels"] for group in faster["groups"] for rule in group["rules"]]
    assert all(each["clock"] == "compressed" for each in labels)
    assert faster["groups"][0]["name"] != rules["groups"][0]["name"]


def _watch(tmp_path: Path, factor: float = 60) -> Any:
    done = tmp_path / "promtool"
    done.write_text("#!/bin/sh\nexit 0\n")
    done.chmod(0o755)
    return watch(MONITORING, installing.Binaries(done, done), factor)


def test_the_configuration_is_the_files_but_for_addresses_and_clock(tmp_path: Path) -> None:
    reported = configuration(_watch(tmp_path), ["127.0.0.1:1", "127.0.0.1:2"], "/m", ["alerts.yml"])
    assert reported["global"] == {
        "scrape_interval": "250ms",
        "scrape_timeout": "250ms",
        "evaluation_interval": "250ms",
    }
    (job,) = reported["scrape_configs"]
    assert job["metrics_path"] == "/m"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:1", "127.0.0.1:2"]}]


def test_a_password_stays_out_of_what_is_written_for_prometheus() -> None:
    assert addresses(["http://user:secret@127.0.0.1:80/base", "http://[::1]:81"]) == [
        "127.0.0.1:80",
        "[::1]:81",
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--monitor needs .*prometheus\.yml"):
        watch(tmp_path, installing.Binaries(tmp_path, tmp_path), 60)


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text("a: [")
    with pytest.raises(UsageError, match="is not valid YAML"):
        watch(tmp_path, installing.Binaries(tmp_path, tmp_path), 60)


def test_without_apt_a_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError, match="install prometheus and promtool"):
        installing.install(lambda _: None)


# Answers of Prometheus.


def test_stretches_bridge_a_missing_look_and_no_more() -> None:
    assert stretches([1.0, 1.25, 1.5, 2.25, 4.0], 0.25) == ((1.0, 2.25), (4.0, 4.0))
    assert stretches([], 0.25) == ()


def _series(state: str, times: Sequence[float], **labels: str) -> dict[str, Any]:
    metric = {"alertname": "Full", "severity": "critical", "alertstate": state, **labels}
    return {"metric": metric, "values": [[at, "1"] for at in times]}


def test_pending_and_firing_together_are_how_long_it_held(tmp_path: Path) -> None:
    found = actives(
        [
            _series("pending", [10.0, 10.25, 10.5]),
            _series("firing", [10.75, 11.0]),
            _series("pending", [10.0, 10.25], clock="compressed"),
            _series("firing", [10.5, 10.75, 11.0], clock="compressed"),
        ],
        0.25,
    )
    true, faster = sorted(found, key=lambda each: each.faster)
    assert true.held == ((10.0, 11.0),)
    assert faster.firing == ((10.5, 11.0),)
    watching = _watch(tmp_path)
    (alert,) = fired(found, watching, int(20e9))
    assert (alert.fired_ns, alert.ended_ns) == (10_500_000_000, 11_000_000_000)
    (alert,) = fired(found, watching, int(11.1e9))
    assert alert.ended_ns is None
    (alert,) = fired(found, _watch(tmp_path, 1), int(20e9))
    assert alert.fired_ns == 10_750_000_000


# What the report says.

WATCHED = Monitoring(
    server="Prometheus 2.42.0",
    factor=60,
    scrape_s=0.25,
    looks=100,
    unanswered=2,
    from_ns=0,
    until_ns=1,
    rules=[
        Rule(name="Full", severity="critical", expression="a > 1", for_s=60, held_s=8.25),
        Rule(name="Failing", severity="warning", expression="b > 1", for_s=300),
    ],
)
FULL = Alert(name="Full", severity="critical", fired_ns=12_300_000_000)


def _result(tmp_path: Path, lost: int) -> Result:
    result = Run(tmp_path).judged()
    return result.model_copy(update={"counts": Counts(sent=10, acked=10, lost=lost)})


@pytest.mark.parametrize(
    ("lost", "alerts", "reported"),
    [
        (205, [FULL], ["205 events were lost", "silent although 205 events were lost"]),
        (0, [FULL], ["fired without loss", "nothing to say"]),
        (1, [], ["silent although 1 event was lost"] * 2),
    ],
)
def test_fired_silent_and_fired_for_nothing(
    tmp_path: Path, lost: int, alerts: list[Alert], reported: list[str]
) -> None:
    since = AlertMoment("fault sigkill", 10_000_000_000)
    lines = rule_lines(WATCHED, alerts, _result(tmp_path, lost), since)
    assert [line.reported for line in lines] == reported
    assert lines[0].fired == ("2.3 s after fault sigkill" if alerts else "silent")
    assert [line.own_clock for line in lines] == [
        "needs 1 m, held 8.2 s",
        "needs 5 m, never held",
    ]


def test_the_factor_is_said() -> None:
    reported = clock_in_words(WATCHED)
    assert "60 times as fast, so 1 m became 1 s, and 15 s between looks became 0.25 s" in reported
    assert "2 of 100 looks unanswered" in reported


def test_waits_read_as_rules_write_them() -> None:
    assert [span(s) for s in (300, 60, 90, 5)] == ["5 m", "1 m", "90 s", "5 s"]


def test_both_files_are_read_back(tmp_path: Path) -> None:
    assert read_monitoring(tmp_path) is None
    WATCHED.save(tmp_path, [FULL])
    assert read_monitoring(tmp_path) == WATCHED
    assert list(read_alerts(tmp_path)) == [FULL]
