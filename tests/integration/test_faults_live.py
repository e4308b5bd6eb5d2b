"""Every fault that a runtime offers, on real processes and containers, with its evidence."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import pika
import psycopg
import pytest

from lossmeter.faults._fault import choose
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.services import discover
from lossmeter.world.site import Alarmable, ServersKillable
from lossmeter.world.waiting import wait_for
from tests.support.sites import Up, runtime_named, up_on

DOCKER = ("docker",)
BOTH = ("local", "docker")
FAULTS: list[tuple[str, dict[str, str | int | float], tuple[str, ...]]] = [
    ("sigkill", {}, BOTH),
    ("sigkill", {"by": "host"}, DOCKER),
    ("sigkill", {"by": "host", "restart": "policy"}, DOCKER),
    ("stop", {"grace_s": 0}, BOTH),
    ("stop", {"grace_s": 0.5}, BOTH),
    ("stop", {"grace_s": 10}, BOTH),
    ("stop", {"grace_s": 4, "pre_stop_s": 1}, BOTH),
    ("pause", {}, BOTH),
    ("disconnect", {}, DOCKER),
    ("replace", {"grace_s": 5}, BOTH),
]
CASES = [
    pytest.param(
        where, name, parameters, id="-".join([where, name, *map(str, parameters.values())])
    )
    for name, parameters, runtimes in FAULTS
    for where in runtimes
]


def _overfill(up: Up) -> threading.Thread:
    """Send the target 40 MiB in half a second's time."""
    event = '{"producer": 0, "sequence": %d, "payload": "' + "x" * 2**20 + '"}'
    body = "[" + ",".join(event % sequence for sequence in range(40)) + "]"

    def fill() -> None:
        time.sleep(0.5)
        with suppress(OSError, HTTPException):
            urllib.request.urlopen(f"{up.site.base_url}/events", body.encode(), timeout=10).close()

    thread = threading.Thread(target=fill)
    thread.start()
    return thread


@pytest.mark.parametrize(("where", "name", "parameters"), CASES)
def test_a_fault_proves_itself_and_heals(
    where: str,
    name: str,
    parameters: dict[str, str | int | float],
    tmp_path: Path,
    pool: ServerPool,
) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel")
    fault = choose(name, parameters).build()
    assert set(fault.needs) <= runtime.capabilities(target)
    with up_on(runtime, tmp_path, target, pool=pool) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        evidence = fault.inject(up.site)
        time.sleep(0.3)
        evidence += fault.heal(up.site)
        assert up.probe.wait_for(lambda sample: sample.ok, 10) is not None
        up.site.check()
    assert not [each for each in evidence if not each.holds]
    assert len({each.source for each in evidence}) >= 2
    assert ("engine-events" in {each.source for each in evidence}) == (where == "docker")


@dataclass(frozen=True, slots=True)
class Wide:
    """A fault beyond the target's own process, and the site that it needs."""

    fault: str
    target: str = "redis"
    disks: frozenset[str] = frozenset()
    instances: int = 1
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


WIDE = (
    Wide("panic", "channel", settings={"DISPATCHER_PANIC_ENDPOINT": "true"}),
    Wide("server-kill"),
    Wide("partition"),
    Wide("power-loss", disks=frozenset({"postgres", "redis"})),
    Wide("rollout", "channel", instances=2, parameters={"grace_s": 5}),
)


@pytest.mark.parametrize("where", BOTH)
@pytest.mark.parametrize("wide", WIDE, ids=lambda wide: wide.fault)
def test_a_fault_of_servers_and_instances_proves_itself_and_heals(
    where: str, wide: Wide, tmp_path: Path, pool: ServerPool
) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target(wide.target)
    fault = choose(wide.fault, wide.parameters).build()
    if lacking := set(fault.needs) - runtime.capabilities(target):
        pytest.skip(f"runtime {where} offers no {', '.join(each.__name__ for each in lacking)}")
    with up_on(
        *(runtime, tmp_path, target),
        disks=wide.disks,
        instances=wide.instances,
        pool=pool,
        **wide.settings,
    ) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        evidence = fault.inject(up.site)
        time.sleep(1.5)
        evidence += fault.heal(up.site)
        assert up.probe.wait_for(lambda sample: sample.ok, 20) is not None
        up.site.check()
    assert not [each for each in evidence if not each.holds]
    assert len({each.source for each in evidence}) >= 2


@pytest.mark.parametrize("where", BOTH)
def test_rabbitmq_above_its_watermark_takes_nothing_until_it_is_healed(
    where: str, tmp_path: Path
) -> None:
    runtime, channel = runtime_named(where), Catalogue.here().target("channel")
    target = channel.model_copy(update={"services": ("postgres", "rabbitmq")})
    runtime.prepare([discover()[name] for name in (*target.services, "toxiproxy")], [target], print)
    fault, again = (choose("memory-alarm", {}).build() for _ in range(2))
    assert set(fault.needs) <= runtime.capabilities(target)
    with up_on(runtime, tmp_path, target) as up:
        assert again.heal(up.site) == []
        evidence = fault.inject(up.site)
        url = up.site.endpoints["rabbitmq"].direct["url"]
        parameters = pika.URLParameters(url)
        parameters.blocked_connection_timeout = 2
        with pika.BlockingConnection(parameters) as sender:
            channel = sender.channel()
            channel.queue_declare("alarmed")
            # Nobody tells one that asks for no confirm.
            channel.basic_publish("", "alarmed", b"1")
            assert _held(url) == 0
            evidence += fault.heal(up.site)
            assert wait_for(lambda: _held(url) == 1, 10)
        up.site.check()
        # As after rabbitmqctl, a server that begins anew has its watermark of before.
        assert isinstance(up.site, Alarmable)
        assert isinstance(up.site, ServersKillable)
        evidence += again.inject(up.site)
        up.site.kill_server("rabbitmq")
        up.site.start_server("rabbitmq")
        assert up.site.alarms("rabbitmq") == frozenset()
        assert up.site.blocked("rabbitmq") == ""
        evidence += again.heal(up.site)
    assert not [each for each in evidence if not each.holds]
    assert {each.source for each in evidence} == {"management", "publisher", "process-table"}


def _held(url: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        declared = connection.channel().queue_declare("alarmed", passive=True)
        return int(declared.method.message_count)


@pytest.mark.parametrize("where", BOTH)
def test_a_backlog_in_memory_is_ended_by_the_kernel(
    where: str, tmp_path: Path, pool: ServerPool
) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel")
    fault = choose("oom", {"headroom_mib": 4}).build()
    with up_on(runtime, tmp_path, target, pool=pool) as up:
        filler = _overfill(up)
        evidence = fault.inject(up.site)
        filler.join()
        evidence += fault.heal(up.site)
        up.site.check()
    assert not [each for each in evidence if not each.holds]
    values = {each.source: each.value for each in evidence}
    assert "kernel-oom-count" in values
    assert "process-table" in values


@pytest.mark.alone
@pytest.mark.parametrize("where", BOTH)
def test_enough_memory_is_a_limit_survived(where: str, tmp_path: Path, pool: ServerPool) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel")
    parameters: dict[str, str | int | float] = {"headroom_mib": 256, "within_s": 1}
    fault = choose("oom", parameters).build()
    with up_on(runtime, tmp_path, target, pool=pool) as up:
        evidence = fault.inject(up.site) + fault.heal(up.site)
        up.site.check()
    assert not [each for each in evidence if not each.holds]
    assert fault.survived


# Faults that show only while events come.


def _events(up: Up, numbers: range) -> list[int]:
    """Send events, each in a request of its own, and return the answers."""
    answers = []
    for number in numbers:
        body = json.dumps({"producer": 0, "sequence": number, "key": "k", "payload": "p" * 200})
        request = urllib.request.Request(f"{up.site.base_url}/events", body.encode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answers.append(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                answers.append(error.code)
    return answers


@dataclass(frozen=True, slots=True)
class Fed:
    """A fault that is shown by what becomes of events, and the site that it needs."""

    fault: str
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    disks: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)
    events: int = 40
    hold_s: float = 1.5
    said: str = ""


FED = (
    Fed(
        "proxy-down",
        settings={"DISPATCHER_DATABASE__TIMEOUT_S": "0.2"},
        said="failed: the database did not answer within 0.2 s",
    ),
    Fed(
        "partition",
        {"servers": "postgres"},
        settings={"DISPATCHER_DATABASE__TIMEOUT_S": "0.2"},
        said="failed: the database did not answer within 0.2 s",
    ),
    Fed("latency", {"latency_ms": 300}),
    Fed("deadlock", {"table": "notice", "every": 20, "remainder": 7, "pairs": 1}, hold_s=2.5),
    Fed("disk-full", disks=frozenset({"postgres"}), events=200, said="No space left on device"),
)


@pytest.mark.parametrize("where", BOTH)
@pytest.mark.parametrize("fed", FED, ids=lambda fed: fed.fault)
def test_a_fault_of_the_database_proves_itself_and_heals(
    where: str, fed: Fed, tmp_path: Path, pool: ServerPool
) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel")
    fault = choose(fed.fault, fed.parameters).build()
    if lacking := set(fault.needs) - runtime.capabilities(target):
        pytest.skip(f"runtime {where} offers no {', '.join(each.__name__ for each in lacking)}")
    with up_on(runtime, tmp_path, target, disks=fed.disks, pool=pool, **fed.settings) as up:
        assert set(_events(up, range(3))) == {202}
        evidence = fault.inject(up.site)
        assert set(_events(up, range(3, 3 + fed.events))) == {202}
        time.sleep(fed.hold_s)
        evidence += fault.heal(up.site)
        assert fault.heal(up.site)
        up.site.check()
        # What comes afterwards is persisted as if nothing had been.
        assert _events(up, range(1000, 1003)) == [202] * 3
        assert _persisted_within(up, range(1000, 1003), 15)
    assert not [each for each in evidence if not each.holds]
    assert len({each.source for each in evidence}) >= 2
    assert fed.said in (tmp_path / "logs" / "target.log").read_text()


def _persisted_within(up: Up, numbers: range, seconds: float) -> bool:
    url = up.site.endpoints["postgres"].direct["url"]
    deadline = time.monotonic() + seconds
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            found = connection.execute("select sequence from notice where sequence >= 1000")
            if {row[0] for row in found} == set(numbers):
                return True
            time.sleep(0.1)
    return False


@pytest.mark.parametrize("where", BOTH)
def test_a_queue_that_runs_full_is_seen_and_so_is_one_that_does_not(
    where: str, tmp_path: Path, pool: ServerPool
) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel-reject")
    settings = {"DISPATCHER_QUEUE__CAPACITY": "5", "DISPATCHER_HANDLER__TIME_S": "1"}
    parameters: dict[str, str | int | float] = {"length": 5, "within_s": 2}
    full, empty = (choose("full-queue", parameters).build() for _ in range(2))
    with up_on(runtime, tmp_path, target, pool=pool, **settings) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        evidence = empty.inject(up.site) + empty.heal(up.site)
        assert not [each for each in evidence if not each.holds]
        assert "never full" in evidence[0].claim
        sender = threading.Thread(target=_events, args=(up, range(20)))
        sender.start()
        evidence = full.inject(up.site)
        sender.join()
        time.sleep(0.1)
        evidence += full.heal(up.site)
    assert not [each for each in evidence if not each.holds]
    assert {each.source for each in evidence} == {"queue-length", "push-counter"}
    assert "held 5 events" in evidence[0].claim
