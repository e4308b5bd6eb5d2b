"""Where a client on this machine finds servers, whatever these run in."""

from __future__ import annotations

import pytest

from lossmeter.model import Address
from lossmeter.world.interpolation import reachable
from lossmeter.world.service import SendsOn
from lossmeter.world.services import discover
from lossmeter.world.site import Endpoint

AROUND, THROUGH = Address("127.0.0.1", 20001), Address("127.0.0.1", 20002)


def _address(*, proxied: bool, through: Address | None, sends_on: bool) -> str:
    inside, direct = {"address": "toxiproxy:8001"}, {"address": str(AROUND)}
    endpoint = Endpoint("broker", AROUND, inside, direct, through, sends_on=sends_on)
    return reachable({"broker": endpoint}, proxied=proxied)["broker.address"]


@pytest.mark.parametrize(
    ("proxied", "through", "sends_on", "found"),
    [
        (True, THROUGH, False, THROUGH),
        (True, None, False, AROUND),
        (False, THROUGH, False, AROUND),
        # It would be sent on from there to a name that only containers know.
        (True, THROUGH, True, AROUND),
    ],
)
def test_a_client_goes_through_the_proxy_where_it_can(
    *, proxied: bool, through: Address | None, sends_on: bool, found: Address
) -> None:
    assert _address(proxied=proxied, through=through, sends_on=sends_on) == str(found)


def test_kafka_alone_sends_its_clients_on() -> None:
    sending = [name for name, each in discover().items() if isinstance(each, SendsOn)]
    assert sending == ["kafka"]
