"""A target that ends since a server of it crashed is not blamed: the server is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lossmeter.errors import CollectError, FaultError, HarnessError, ServiceError, TargetError
from lossmeter.model import Address
from lossmeter.world.runtime import Order
from lossmeter.world.runtimes._lifetimes import Lifetimes
from lossmeter.world.runtimes._server_set import ServerSet, lend
from lossmeter.world.service import Service, Slot
from lossmeter.world.services.webhook import Webhook
from lossmeter.world.site import Exit, Incarnation

NOWHERE = Address("127.0.0.1", 9)
BLAMED = (
    TargetError("target ended with exit code 1 in mid-run"),
    CollectError("the rows cannot be read"),
    FaultError("sigkill: the target did not come back"),
)


class Database(Webhook):
    """A server that recovers from a crash within one main process, as PostgreSQL does."""

    begun = "at 1 s"
    serves = True

    def ready(self, slot: Slot) -> bool:
        del slot
        return self.serves

    def lifetime(self, slot: Slot) -> str:
        del slot
        return self.begun


class Servers(ServerSet):
    """A set of one server, without anything that runs."""

    def __init__(self, database: Database, down: Mapping[str, int], killed: set[str]) -> None:
        self._down, self._ended = killed, down
        self._struck, self._unsettled, self._recovering = set(), set(), set()
        slot = Slot(Path(), NOWHERE, NOWHERE, "")
        self._services, self._slots = [database], {"webhook": slot}
        self._lifetimes = Lifetimes(self.lifetime, self.log)
        self._lifetimes.note(database, slot)

    def start(self) -> None: ...

    def serve(self, order: Order) -> None: ...

    def unfit(self) -> str:
        return "it serves one run"

    def close(self) -> None: ...

    def ended(self) -> dict[str, int]:
        return dict(self._ended)

    def lifetime(self, name: str) -> Incarnation:
        del name
        return Incarnation(7, 7, 0)

    def last_lines(self, name: str) -> str:
        return f"{name} was killed"

    def log(self, name: str) -> str:
        return f"{name} is well\nreinitializing"

    def save_logs(self) -> None: ...

    def _start_first(self, service: Service) -> None: ...

    def _start_again(self, service: Service) -> None: ...

    def _proxied(self, name: str) -> tuple[Address, Address]:
        raise NotImplementedError(name)

    def _kill(self, name: str) -> Exit:
        raise NotImplementedError(name)


def _end_with(error: HarnessError, database: Database, *, crashed: bool) -> None:
    database.begun = "at 5 s" if crashed else database.begun
    raise error


def lent(
    error: HarnessError, *, crashed: bool = False, down: Mapping[str, int] = {}, killed: str = ""
) -> HarnessError:
    """Return what is raised where a run ends with an error."""
    database = Database()
    servers = Servers(database, down, {killed})
    order: Any = SimpleNamespace(pool=None, services=(), servers={}, disks=frozenset(), say=print)
    order.target = SimpleNamespace(proxied={})
    with pytest.raises(HarnessError) as caught, lend(order, "local", lambda _: servers):
        _end_with(error, database, crashed=crashed)
    return caught.value


@pytest.mark.parametrize("error", BLAMED, ids=lambda error: type(error).__name__)
def test_a_crash_that_the_target_did_not_survive_is_the_server_s(error: HarnessError) -> None:
    said = lent(error, crashed=True)
    assert isinstance(said, ServiceError)
    assert str(said).startswith("webhook began a new lifetime in mid-run, which no fault asked")
    assert str(said).endswith("its log says: webhook is well | reinitializing")


@pytest.mark.parametrize("error", BLAMED, ids=lambda error: type(error).__name__)
def test_so_is_the_end_of_one(error: HarnessError) -> None:
    assert str(lent(error, down={"webhook": -9})) == (
        "webhook ended with exit code -9 in mid-run, which no fault asked for; its log says: "
        "webhook was killed"
    )
    assert lent(error, down={"webhook": -9}, killed="webhook") is error


def test_where_all_servers_went_on_the_target_is_blamed() -> None:
    for error in BLAMED:
        assert lent(error) is error


def test_a_server_is_excused_while_its_disk_is_full_and_until_it_serves_again() -> None:
    database = Database()
    servers = Servers(database, {}, set())
    servers.strike("webhook")
    database.begun, database.serves = "at 5 s", False
    servers.check_lifetimes()
    servers.healed("webhook")
    database.begun = "at 7 s"
    servers.check_lifetimes()
    database.serves = True
    servers.check_lifetimes()
    database.begun = "at 9 s"
    with pytest.raises(ServiceError, match="webhook began a new lifetime in mid-run, which no"):
        servers.check_lifetimes()


def test_one_that_is_struck_again_while_it_recovers_is_excused_anew() -> None:
    database = Database()
    servers = Servers(database, {}, set())
    servers.strike("webhook")
    database.serves = False
    servers.healed("webhook")
    servers.strike("webhook")
    database.begun, database.serves = "at 5 s", True
    servers.check_lifetimes()
    database.begun = "at 7 s"
    servers.check_lifetimes()
