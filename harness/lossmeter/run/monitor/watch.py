"""A Prometheus server beside a run: what it is given, and what it says in the end."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from lossmeter.errors import ServiceError, UsageError
from lossmeter.record.alerts import Alert, Monitoring, Rule
from lossmeter.run.monitor.install import Binaries
from lossmeter.run.monitor.rules import (
    CLOCK,
    AlertRule,
    alert_rules,
    compressed,
    milliseconds,
    read_yaml,
    shorter,
)
from lossmeter.world import http_client, programs
from lossmeter.world.ports import LOOPBACK, free_ports
from lossmeter.world.runtime import HelperProcess
from lossmeter.world.waiting import wait_for

CONFIGURATION = "prometheus.yml"
FACTOR = 60.0
# Beyond this, a look at the target would come more often than ten times a second.
FACTOR_MAX = 150.0
READY_S = 20.0
_LOOK_S = 0.05
_ANSWER_S = 5.0
# A sample is missing now and then; two stretches this close, in looks, are one.
_GAP_LOOKS = 3

Start = Callable[[str, Sequence[str], Mapping[str, str]], HelperProcess]


@dataclass(frozen=True, slots=True)
class Watch:
    """What is to watch a run: checked, so that nothing is started in vain.

    Attributes:
        configuration: of the scrapes, as ``prometheus.yml`` says.
        rules: the rule file's text, as it is.
        factor: by how much the clock of the second set of rules runs faster; 1 for none.
    """

    binaries: Binaries
    configuration: Mapping[str, Any]
    rules: str
    factor: float = FACTOR

    @property
    def alert_rules(self) -> list[AlertRule]:
        """Return the alerting rules."""
        import yaml  # noqa: PLC0415 - an extra brings it

        return alert_rules(yaml.safe_load(self.rules))

    @property
    def interval(self) -> str:
        """Return the time between two looks, as Prometheus writes it."""
        reported = self.configuration.get("global") or {}
        return shorter(str(reported.get("scrape_interval", "1m")), self.factor)

    @property
    def interval_s(self) -> float:
        """Return the same in seconds."""
        return milliseconds(self.interval) / 1000


def watch(folder: Path, binaries: Binaries, factor: float) -> Watch:
    """Return what watches runs by the files of a folder.

    Raises:
        UsageError: a file is missing or wrong.
    """
    configuration = read_yaml(folder / CONFIGURATION)
    named = configuration.get("rule_files") or []
    if len(named) != 1:
        raise UsageError(
            f"{folder / CONFIGURATION} must name one file under rule_files, it names {len(named)}"
        )
    file = folder / str(named[0])
    read_yaml(file)
    check = (str(binaries.promtool), "check", "config", str(folder / CONFIGURATION))
    ended = programs.run(check, READY_S)
    if ended.code != 0:
        raise UsageError(f"{_why(ended.err)}; promtool check config tells more")
    return Watch(binaries, configuration, file.read_text(encoding="utf-8"), factor)


def _why(said: str) -> str:
    """Return the first thing that promtool found wrong, on one line."""
    _, _, found = said.partition("FAILED:")
    wrong = " ".join(found.partition("FAILED:")[0].split())
    return wrong or "promtool refuses it without a word"


class Monitor:
    """Prometheus watching one run; a context manager around what it is to see."""

    def __init__(
        self, watching: Watch, folder: Path, targets: Sequence[str], path: str, start: Start
    ) -> None:
        self._watching = watching
        self._run = folder
        self._folder = folder / "monitoring"
        self._targets = list(targets)
        self._path = path
        self._start = start
        self._port = free_ports(1)[0]
        self._process: HelperProcess | None = None
        self._from_ns = 0

    def __enter__(self) -> Self:
        """Start it and wait until it has seen every instance once.

        Raises:
            ServiceError: it did not start, or does not see the target.
        """
        self._folder.mkdir()
        self._write()
        self._process = self._start("prometheus", self._command(), {})
        try:
            self._wait()
        except ServiceError:
            self._end()
            raise
        self._from_ns = time.time_ns()
        return self

    def __exit__(self, *_: object) -> None:
        """Save what fired, and end it."""
        try:
            self._save()
        finally:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _command(self) -> tuple[str, ...]:
        return (
            str(self._watching.binaries.prometheus),
            f"--config.file={self._folder / CONFIGURATION}",
            f"--storage.tsdb.path={self._data}",
            f"--web.listen-address={LOOPBACK}:{self._port}",
            f"--query.lookback-delta={shorter('5m', self._watching.factor)}",
            "--log.level=warn",
        )

    def _write(self) -> None:
        """Write the files that it is given: the true rules as they are, and the faster ones."""
        import yaml  # noqa: PLC0415 - an extra brings it

        watching = self._watching
        files = {"alerts.yml": watching.rules}
        if watching.factor > 1:
            faster = compressed(yaml.safe_load(watching.rules), watching.factor)
            files["alerts-compressed.yml"] = yaml.safe_dump(faster, sort_keys=False)
        files[CONFIGURATION] = yaml.safe_dump(
            configuration(watching, self._targets, self._path, sorted(files)), sort_keys=False
        )
        for name, text in files.items():
            (self._folder / name).write_text(text, encoding="utf-8")

    def _wait(self) -> None:
        log = self._run / "logs" / "prometheus.log"

        def sees_all() -> bool:
            if self._process is not None and (code := self._process.poll()) is not None:
                raise ServiceError(f"prometheus ended with exit code {code}; its log is {log}")
            seen = self._ask("count(up == 1)")
            return (
                seen is not None and bool(seen) and float(seen[0]["value"][1]) == len(self._targets)
            )

        if not wait_for(sees_all, READY_S, _LOOK_S):
            raise ServiceError(
                f"prometheus does not see {self._path} on {', '.join(self._targets)} within "
                f"{READY_S:g} s; are http.metrics and the target in order? Its log is {log}"
            )

    # What it says.

    def _save(self) -> None:
        until_ns = time.time_ns()
        watching = self._watching
        window = f"{int((until_ns - self._from_ns) / 1e9) + 60}s"
        found = self._ask(f"ALERTS[{window}]")
        looks = self._ask(f"up[{window}]")
        problem = None
        if found is None or looks is None:
            problem = "Prometheus did not answer at the end of the run"
        reported = [value[1] for series in looks or [] for value in series["values"]]
        active = actives(found or [], watching.interval_s)
        Monitoring(
            server=watching.binaries.version,
            factor=watching.factor,
            scrape_s=watching.interval_s,
            looks=len(reported),
            unanswered=reported.count("0"),
            from_ns=self._from_ns,
            until_ns=until_ns,
            rules=[_rule(rule, active) for rule in watching.alert_rules],
            problem=problem,
        ).save(self._run, fired(active, watching, until_ns))

    def _ask(self, query: str) -> list[dict[str, Any]] | None:
        """Return what a query returns; None while it does not answer."""
        url = f"http://{LOOPBACK}:{self._port}/api/v1/query?{urlencode({'query': query})}"
        answer = http_client.ask(url, _ANSWER_S)
        if answer is None or not answer.ok:
            return None
        found: list[dict[str, Any]] = json.loads(answer.body)["data"]["result"]
        return found


def configuration(
    watching: Watch, targets: Sequence[str], path: str, files: Sequence[str]
) -> dict[str, Any]:
    """Return the configuration for a run: as the file says, but for addresses and clock."""
    reported = json.loads(json.dumps(watching.configuration))
    times = reported.setdefault("global", {})
    for name, default in (("scrape_interval", "1m"), ("evaluation_interval", "1m")):
        times[name] = shorter(str(times.get(name, default)), watching.factor)
    # A look may take as long as there is until the next one.
    times["scrape_timeout"] = times["scrape_interval"]
    reported["rule_files"] = [name for name in files if name.endswith(".yml")]
    jobs = reported.get("scrape_configs") or [{"job_name": "dispatcher"}]
    reported["scrape_configs"] = [
        {
            "job_name": jobs[0].get("job_name", "dispatcher"),
            "metrics_path": path,
            "static_configs": [{"targets": list(targets)}],
        }
    ]
    return {name: reported[name] for name in ("global", "rule_files", "scrape_configs")}


def addresses(urls: Sequence[str]) -> list[str]:
    """Return the addresses of base URLs, ``host:port``; a password in one stays out of files."""
    return [urlsplit(url).netloc.rpartition("@")[2] for url in urls]


@dataclass(frozen=True, slots=True)
class _Active:
    """One alert of one instance, by one of the clocks.

    Attributes:
        held: the stretches in which its expression held, pending or firing; seconds since
            the epoch.
        faster: it belongs to the rules by the faster clock.
    """

    name: str
    severity: str
    faster: bool
    held: tuple[tuple[float, float], ...]
    firing: tuple[tuple[float, float], ...]


def actives(series: Sequence[Mapping[str, Any]], interval_s: float) -> list[_Active]:
    """Return the alerts in what Prometheus says of ``ALERTS`` over a stretch of time."""
    times: dict[frozenset[tuple[str, str]], dict[str, list[float]]] = {}
    for each in series:
        labels = dict(each["metric"])
        state = labels.pop("alertstate", "")
        states = times.setdefault(frozenset(labels.items()), {})
        states.setdefault(state, []).extend(float(at) for at, _ in each["values"])
    found = []
    for key, states in times.items():
        labels = dict(key)
        every = [at for state in states.values() for at in state]
        found.append(
            _Active(
                name=labels.get("alertname", ""),
                severity=labels.get("severity", ""),
                faster=CLOCK in labels,
                held=stretches(every, interval_s),
                firing=stretches(states.get("firing", []), interval_s),
            )
        )
    return found


def stretches(times: Sequence[float], interval_s: float) -> tuple[tuple[float, float], ...]:
    """Return first and last of each stretch of times that follow each other."""
    found: list[tuple[float, float]] = []
    for at in sorted(times):
        if found and at - found[-1][1] <= _GAP_LOOKS * interval_s:
            found[-1] = found[-1][0], at
        else:
            found.append((at, at))
    return tuple(found)


def fired(active: Sequence[_Active], watching: Watch, until_ns: int) -> list[Alert]:
    """Return the alerts that fired by the faster clock, or by the true one where it is alone."""
    now_s = until_ns / 1e9 - _GAP_LOOKS * watching.interval_s
    return sorted(
        (
            Alert(
                name=each.name,
                severity=each.severity,
                fired_ns=int(begin * 1e9),
                ended_ns=None if end >= now_s else int(end * 1e9),
            )
            for each in active
            if each.faster == (watching.factor > 1)
            for begin, end in each.firing
        ),
        key=lambda alert: alert.fired_ns,
    )


def _rule(rule: AlertRule, active: Sequence[_Active]) -> Rule:
    own = [each for each in active if each.name == rule.name and not each.faster]
    firing = [begin for each in own for begin, _ in each.firing]
    held = [end - begin for each in own for begin, end in each.held]
    return Rule(
        name=rule.name,
        severity=rule.severity,
        expression=rule.expression,
        for_s=rule.for_s,
        held_s=round(max(held, default=0.0), 3),
        fired_ns=int(min(firing) * 1e9) if firing else None,
    )
