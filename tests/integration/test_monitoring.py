"""The shipped alerts and dashboard, and a real Prometheus that watches a real run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lossmeter.errors import HarnessError
from lossmeter.record.alerts import read_alerts, read_monitoring
from lossmeter.record.facts import Facts
from lossmeter.run.monitor.install import Binaries, install
from lossmeter.run.monitor.rules import compressed, read_yaml
from lossmeter.world.install.cache import cache_root
from lossmeter_dispatcher.metrics import Metrics
from tests.support.program import left_behind, lossmeter
from tests.support.run_folders import page_of
from tests.support.sites import CI

MONITORING = Path(__file__).resolve().parents[2] / "targets" / "monitoring"

# What Prometheus itself adds, and what it tells of its alerts.
OF_PROMETHEUS = {"up", "ALERTS"}
_NAME = re.compile(r"\b(?:queue|message|messages)_[a-z_]+\b")
_VARIABLE = re.compile(r"\$__rate_interval|\$instance")


@pytest.fixture(scope="module")
def binaries() -> Binaries:
    """Prometheus and promtool; in CI a machine without them fails."""
    try:
        return install(lambda _: None)
    except HarnessError as error:
        if os.environ.get(CI):
            raise
        pytest.skip(str(error))


def _promtool(binaries: Binaries, *arguments: str, folder: Path = MONITORING) -> tuple[int, str]:
    command = (str(binaries.promtool), *arguments)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


# The files.


def test_the_configuration_is_valid(binaries: Binaries) -> None:
    code, said = _promtool(binaries, "check", "config", "prometheus.yml")
    assert code == 0, said


def test_the_rules_fire_when_they_should(binaries: Binaries) -> None:
    code, said = _promtool(binaries, "test", "rules", "alerts_test.yml")
    assert code == 0, said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("queue_usage_percent > 80", "queue_usage_percent > 79"),
        ("queue_usage_percent > 80", "queue_usage_percent > 86"),
        ("queue_usage_percent > 95", "queue_usage_percent > 94"),
        ("queue_usage_percent > 95", "queue_usage_percent >= 100.5"),
        ("message_failure_rate > 0.01", "message_failure_rate >= 0.01"),
        ("message_failure_rate > 0.05", "message_failure_rate >= 0.05"),
        ("message_failure_rate > 0.05", "message_failure_rate > 0.2"),
        ("0.99", "0.75"),
        ("0.99", "0.9999"),
        ("for: 5m", "for: 4m45s"),
        ("for: 5m", "for: 6m"),
        ("for: 1m", "for: 45s"),
        ("severity: critical", "severity: warning"),
    ],
)
def test_the_rule_tests_notice_a_changed_bound(
    binaries: Binaries, tmp_path: Path, old: str, new: str
) -> None:
    shutil.copy(MONITORING / "alerts_test.yml", tmp_path)
    text = (MONITORING / "alerts.yml").read_text()
    assert old in text
    (tmp_path / "alerts.yml").write_text(text.replace(old, new))
    code, said = _promtool(binaries, "test", "rules", "alerts_test.yml", folder=tmp_path)
    assert code != 0, said


def test_the_faster_rules_are_valid_too(binaries: Binaries, tmp_path: Path) -> None:
    faster = compressed(read_yaml(MONITORING / "alerts.yml"), 60)
    (tmp_path / "faster.yml").write_text(yaml.safe_dump(faster))
    code, said = _promtool(binaries, "check", "rules", "faster.yml", folder=tmp_path)
    assert code == 0, said
    assert "5 rules found" in said


def _exposed() -> set[str]:
    """Return the names on the dispatcher's own metrics page."""
    page = Metrics(1000).page(0).decode()
    return {line.split("{")[0].split(" ")[0] for line in page.splitlines() if line[:1] != "#"}


def _dashboard() -> dict[str, Any]:
    reported: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return reported


def _expressions() -> Iterator[str]:
    for panel in _dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    rules = read_yaml(MONITORING / "alerts.yml")["groups"][0]["rules"]
    variables = [each["definition"] for each in _dashboard()["templating"]["list"][1:]]
    asked = [*(rule["expr"] for rule in rules), *_expressions(), *variables]
    named = {name for expression in asked for name in _NAME.findall(expression)}
    assert named, "no metric was found in any expression"
    assert named - _exposed() - OF_PROMETHEUS == set()


def test_the_dashboard_shows_every_metric_of_the_analysis() -> None:
    shown = " ".join(_expressions())
    for name in (
        *("queue_length", "queue_capacity", "queue_usage_percent"),
        *("message_process_latency", "message_failure_rate", "message_drop_rate"),
    ):
        assert name in shown


def test_the_dashboard_holds_together(binaries: Binaries, tmp_path: Path) -> None:
    dashboard = _dashboard()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24
    # As recording rules, so that Prometheus' own parser reads each expression.
    rules = [
        {"record": f"panel:{number}", "expr": _VARIABLE.sub("1m", expression)}
        for number, expression in enumerate(_expressions())
    ]
    (tmp_path / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "p", "rules": rules}]})
    )
    code, said = _promtool(binaries, "check", "rules", "panels.yml", folder=tmp_path)
    assert code == 0, said


# A run.

# Full after 2 s; killed after 12 s with all that it held.
RUN = """
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

EXPERIMENT = Experiment(
    name="full",
    hypothesis="The queue is told of, and the loss of it is not.",
    variants=(
        Variant(
            "",
            steady(200, 13),
            (PlannedFault("sigkill", Trigger(at_s=12)),),
            {"workers": 5, "handler_time_s": 0.05, "capacity": 200},
        ),
    ),
    targets=("channel",),
    predict=lambda seen: Predicted(),
    bounds={"max_lost": 250},
)
"""


@pytest.mark.usefixtures("binaries")
def test_a_run_says_which_alerts_fired_and_which_stayed_silent(project: Path) -> None:
    (project / "full.py").write_text(RUN)
    done = lossmeter("run", "full.py", "--runtime", "local", "--monitor", "--json", "-")
    assert done.code == 0, done.err
    lost = done.results()[0]["counts"]["lost"]
    assert lost > 100
    (folder,) = (project / "results" / "runs").iterdir()

    monitoring = read_monitoring(folder)
    assert monitoring is not None
    assert monitoring.problem is None
    assert monitoring.factor == 60
    assert monitoring.looks > 40
    # While the target was dead it did not answer, and before that it did.
    assert 0 < monitoring.unanswered < monitoring.looks / 3
    # By their own clock none of them could fire in a run of some seconds.
    assert [rule.fired_ns for rule in monitoring.rules] == [None] * 5
    held = {rule.name: rule.held_s for rule in monitoring.rules}
    assert 7 < held["QueueAlmostFull"] <= held["QueueFilling"] < 13
    assert held["HandlersFailing"] == 0

    struck_ns = Facts.load(folder).faults[0].injected_ns
    assert struck_ns is not None
    before_s = {a.name: (struck_ns - a.fired_ns) / 1e9 for a in read_alerts(folder)}
    assert {"QueueAlmostFull", "QueueFilling", "ProcessingSlow"} <= set(before_s)
    # Full from 1.9 s on and 1 s to wait; above 80 % from 1.6 s on and 5 s to wait.
    assert 8 < before_s["QueueAlmostFull"] < 9.6
    assert 4.3 < before_s["QueueFilling"] < 6

    assert "Prometheus" in done.err
    assert "60 times as fast" in done.err
    assert f"s before fault sigkill, {lost} events were lost; by its own clock" in done.err
    assert f"silent although {lost} events were lost: HandlersFailing (needs 5 m" in done.err
    page = page_of(folder)
    assert "Alerts: which fired, and which did not" in page
    assert f"silent although {lost} events were lost" in page

    assert left_behind(done.pid) == []
    kept = sorted(path.name for path in (folder / "monitoring").iterdir())
    assert kept == ["alerts-compressed.yml", "alerts.yml", "prometheus.yml"]
    shipped = (MONITORING / "alerts.yml").read_bytes()
    assert (folder / "monitoring" / "alerts.yml").read_bytes() == shipped


def test_a_target_without_metrics_cannot_be_watched(project: Path) -> None:
    text = (project / "targets" / "channel.toml").read_text()
    without = re.sub(r"(?m)^metrics = .*\n", "", text)
    assert without != text
    (project / "mine.toml").write_text(without)
    done = lossmeter("run", "control", "--target", "mine.toml", "--monitor", "--runtime", "local")
    assert done.code == 4
    assert "does not say where Prometheus finds its metrics" in done.err
    assert not (project / "results" / "runs").exists()


@pytest.mark.usefixtures("binaries")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("queue_usage_percent > 80", "queue_usage_percent >", "parse error"),
        ("for: 5m", "for: five", "duration"),
        ("groups:", "grups:", "grups"),
    ],
)
def test_wrong_rules_are_refused_before_anything_starts(
    project: Path, old: str, new: str, said: str
) -> None:
    path = project / "targets" / "monitoring" / "alerts.yml"
    path.write_text(path.read_text().replace(old, new))
    done = lossmeter("run", "control", "--target", "channel", "--monitor", "--runtime", "local")
    assert done.code == 4, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error:")]
    assert said in line
    assert not (project / "results" / "runs").exists()


def test_a_clock_without_a_monitor_is_refused() -> None:
    done = lossmeter("run", "control", "--monitor-factor", "2")
    assert done.code == 4
    assert "give --monitor as well" in done.err


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's package needs apt")
def test_the_package_is_brought_into_an_empty_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path))
    if shutil.which("prometheus") is not None:
        pytest.skip("this machine has its own Prometheus")
    reported: list[str] = []
    found = install(reported.append)
    assert found.prometheus.is_relative_to(cache_root())
    assert re.fullmatch(r"Prometheus \d+\.\d+\.\d+", found.version)
    assert reported[0] == "prometheus: downloading Debian's package"
    # Then how far it has come, if it takes longer than a moment.
    assert all(re.fullmatch(r"prometheus: [\d.]+ of [\d.]+ MB.*", line) for line in reported[1:])
    told = len(reported)
    assert install(reported.append) == found
    assert len(reported) == told
