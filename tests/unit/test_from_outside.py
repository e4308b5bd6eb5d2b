"""One more fault and one more server: a file each, and nothing else is edited."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter import faults
from lossmeter.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from lossmeter.faults._fault import choose
from lossmeter.model import Address, Predicted
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue, Cell
from lossmeter.plugins import load, names_in
from lossmeter.run.admission import check, disks_of, services_of, strikes_servers
from lossmeter.world import runtimes, services
from lossmeter.world.service import Slot
from tests.support.sites import up_on

FAULT = '''
"""A server of another kind is told to be silent for a while."""

from lossmeter.faults._fault import Strikes
from lossmeter.faults._servers import AtServer, Names, ServerNames, ask, asked
from lossmeter.world.site import ServersKillable


class Takes(ServerNames):
    servers: Names = ("echo",)


class Hush(AtServer[Takes]):
    takes = Takes
    needs = (ServersKillable,)
    strikes = frozenset({Strikes.SERVER})
    takes_away = True

    def inject(self, site):
        self._hit = self.find(site)
        self.capable(site, ServersKillable).kill_server(self._hit.service)
        said = ask(self._hit, self._hit.outside)
        return [asked("server-address", "nobody answers", said, answers=False)]

    def heal(self, site):
        if self._hit is None:
            return []
        self.capable(site, ServersKillable).start_server(self._hit.service)
        said = ask(self._hit, self._hit.outside)
        return [asked("server-address", "it answers again", said, answers=True)]
'''

SERVER = '''
"""A server that says what it was told."""

import socket
import sys

from lossmeter.world.service import ProcessSpec

SAYS = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    while True:
        with server.accept()[0] as client:
            client.sendall(client.recv(100))
"""


class Echo:
    name = "echo"
    unprivileged = False
    port = 7
    question = b"anybody there"
    log_lines = {}
    needs = ()
    settings = {}

    def install(self, say): ...
    def missing(self): return None
    def version(self): return "Echo 1"
    def prepare(self, slot, run): ...
    def recipe(self, say): raise NotImplementedError
    def container(self, slot): raise NotImplementedError
    def reset(self, slot): ...
    def contents(self, slot): return frozenset()
    def running_version(self, slot): return self.version()

    def process(self, slot):
        return ProcessSpec((sys.executable, "-c", SAYS, slot.listen.host, str(slot.listen.port)))

    def ready(self, slot):
        try:
            with socket.create_connection((slot.listen.host, slot.listen.port), 1) as client:
                client.sendall(self.question)
                return client.recv(100) == self.question
        except OSError:
            return False

    def variables(self, slot, address):
        return {"host": address.host, "port": str(address.port), "address": str(address),
                "password": ""}


SERVICE = Echo()
'''


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of somebody else's on the path of both packages."""
    for package, name, text in ((faults, "hush", FAULT), (services, "echo", SERVER)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    services.discover.cache_clear()
    yield
    services.discover.cache_clear()
    for name in ("lossmeter.faults.hush", "lossmeter.world.services.echo"):
        sys.modules.pop(name, None)


def _cell() -> Cell:
    def predict(_: Observed) -> Predicted:
        return Predicted()

    variant = Variant("", steady(50, 5), (PlannedFault("hush", Trigger(at_s=1), 1.0),))
    target = Catalogue.here().target("channel")
    target = target.model_copy(update={"services": (*target.services, "echo")})
    return Cell(Experiment("a", "b", (variant,), (), predict), variant, target, Budget(max_lost=0))


@pytest.mark.usefixtures("outside")
def test_both_are_listed_and_admitted() -> None:
    assert "hush" in names_in(faults)
    assert "echo" in services.discover()
    cell = _cell()
    assert check(cell, load(runtimes, "local", "runtime").RUNTIME) is None
    assert set(services_of(cell)) == {"postgres", "echo", "toxiproxy"}
    assert strikes_servers(cell)
    assert disks_of(cell) == frozenset()


@pytest.mark.usefixtures("outside")
def test_one_that_is_not_asked_of_the_target_is_a_named_skip() -> None:
    cell = _cell()
    target = Catalogue.here().target("channel")
    cell = Cell(cell.experiment, cell.variant, target, cell.budget)
    why = check(cell, load(runtimes, "local", "runtime").RUNTIME)
    assert why == "fault hush needs a target that uses echo, and target channel does not"


@pytest.mark.usefixtures("outside")
def test_the_fault_strikes_the_server_on_a_real_site(tmp_path: Path) -> None:
    runtime = load(runtimes, "local", "runtime").RUNTIME
    with up_on(runtime, tmp_path, _cell().target) as up:
        assert up.site.versions["echo"] == "Echo 1"
        fault = choose("hush", {}).build()
        evidence = [*fault.inject(up.site), *fault.heal(up.site)]
        assert [each.holds for each in evidence] == [True, True], evidence
        slot = Slot(tmp_path, Address.parse(up.site.endpoints["echo"].direct["address"]), up, "")  # type: ignore[arg-type]
        assert services.discover()["echo"].ready(slot)
        up.site.check()
