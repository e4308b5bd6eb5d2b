"""RabbitMQ's resource alarm: where it can be raised, and beside what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lossmeter.errors import FaultError, UsageError
from lossmeter.experiment import PlannedFault, Trigger
from lossmeter.faults import memory_alarm
from lossmeter.faults._fault import choose
from lossmeter.model import Address
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plugins import load
from lossmeter.run.admission import check, needs_alone, strikes_servers
from lossmeter.world import runtimes
from lossmeter.world.site import Endpoint, Exit, Incarnation
from tests.support.fake_probe import FakeProbe

FILE = Path("experiments/reported/celery-memory-alarm.toml")
ALARM = PlannedFault("memory-alarm", Trigger(at_s=4), None)


def cell_of(project: Path, *targets: str) -> Cell:
    catalogue = Catalogue.here()
    path = project / FILE
    (cell,) = cells(catalogue, catalogue.experiment(str(path)), targets, [])
    return cell


def refused(cell: Cell, runtime: str) -> str | None:
    return check(cell, load(runtimes, runtime, "runtime").RUNTIME)


def with_faults(cell: Cell, *faults: PlannedFault) -> Cell:
    return replace(cell, variant=replace(cell.variant, faults=faults))


@pytest.mark.parametrize("target", ["channel", "redis", "kafka"])
def test_what_uses_another_broker_is_refused_before_anything_starts(
    project: Path, target: str
) -> None:
    cell = with_faults(cell_of(project, target), ALARM)
    why = f"fault memory-alarm needs a target that uses rabbitmq, and target {target} does not"
    assert refused(cell, "local") == refused(cell, "docker") == why


def test_another_server_cannot_be_named() -> None:
    with pytest.raises(UsageError, match="fault memory-alarm takes no parameters, got servers"):
        choose("memory-alarm", {"servers": "redis"})


@pytest.mark.parametrize("runtime", ["local", "docker"])
def test_it_can_be_raised_beside_a_kill_of_the_broker(project: Path, runtime: str) -> None:
    cell = cell_of(project)
    assert [each.fault for each in cell.variant.faults] == ["memory-alarm", "server-kill"]
    assert refused(cell, runtime) is None


def test_two_at_once_are_refused(project: Path) -> None:
    twice = with_faults(cell_of(project), ALARM, ALARM)
    with pytest.raises(UsageError, match="both strike memory-alarm at server rabbitmq"):
        refused(twice, "local")


def test_somebody_elses_image_does_not_heed_the_harness(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSMETER_IMAGE_RABBITMQ", "rabbitmq:4-management")
    why = refused(cell_of(project), "docker")
    assert why is not None
    assert why.startswith("fault memory-alarm needs a target that is alarmable")


def test_the_servers_of_such_a_run_serve_no_other(project: Path) -> None:
    cell = with_faults(cell_of(project), ALARM)
    assert strikes_servers(cell)
    assert needs_alone(cell, load(runtimes, "local", "runtime").RUNTIME) is None


@dataclass
class Broker:
    """A site with a RabbitMQ that does as it is asked, unless something is changed."""

    alarm: bool = False
    heeds: bool = True
    lives: Incarnation = field(default_factory=lambda: Incarnation(10, 100, 0))
    probe: FakeProbe = field(default_factory=lambda: FakeProbe([], None))
    base_url: str = ""
    base_urls: tuple[str, ...] = ()
    folder: Path = Path()
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def log(self, name: str) -> str:
        raise NotImplementedError(name)

    def server_lifetime(self, name: str) -> Incarnation:
        assert name == "rabbitmq"
        return self.lives

    def kill_server(self, name: str) -> Exit:
        raise NotImplementedError(name)

    def start_server(self, name: str) -> None:
        raise NotImplementedError(name)

    def alarms(self, server: str) -> frozenset[str]:
        assert server == "rabbitmq"
        return frozenset({"memory"} if self.alarm else ())

    def blocked(self, server: str) -> str:
        assert server == "rabbitmq"
        return "blocked" if self.alarm else ""

    def set_watermark(self, server: str, limit_bytes: int | None) -> None:
        assert server == "rabbitmq"
        if self.heeds:
            self.alarm = limit_bytes is not None


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr(memory_alarm, "HEEDED_WITHIN_S", 0.0)
    at = Address("127.0.0.1", 1)
    return Broker(endpoints={"rabbitmq": Endpoint("rabbitmq", at, {}, {})})


def test_an_alarm_that_was_there_before_speaks_against_it(broker: Broker) -> None:
    broker.alarm = True
    evidence = choose("memory-alarm", {}).build().inject(broker)
    assert [each.claim for each in evidence if not each.holds] == ["rabbitmq was short of nothing"]
    assert evidence[0].value == "alarms: memory"


def test_an_alarm_that_stays_speaks_against_its_healing(broker: Broker) -> None:
    fault = choose("memory-alarm", {}).build()
    assert all(each.holds for each in fault.inject(broker))
    broker.heeds = False
    assert [each.holds for each in fault.heal(broker)] == [True, False, False]


def test_somebody_else_who_ends_it_speaks_against_it(broker: Broker) -> None:
    fault = choose("memory-alarm", {}).build()
    fault.inject(broker)
    broker.alarm = False
    assert [each.holds for each in fault.heal(broker)] == [False, True, True]


def test_a_broker_that_begins_anew_ends_it_and_nothing_speaks_against_it(broker: Broker) -> None:
    fault = choose("memory-alarm", {}).build()
    fault.inject(broker)
    broker.alarm, broker.lives = False, Incarnation(11, 200, 0)
    kept, *rest = fault.heal(broker)
    assert (kept.source, kept.value) == ("process-table", "10/100 became 11/200")
    assert kept.holds
    assert all(each.holds for each in rest)


def test_without_a_rabbitmq_nothing_is_injected_and_nothing_healed(broker: Broker) -> None:
    broker.endpoints.clear()
    fault = choose("memory-alarm", {}).build()
    with pytest.raises(FaultError, match="needs a target that uses rabbitmq"):
        fault.inject(broker)
    assert fault.heal(broker) == []
