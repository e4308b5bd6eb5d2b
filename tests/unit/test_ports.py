from __future__ import annotations

import socket

import pytest

from harness import ports
from harness.errors import ServiceError
from harness.ports import LOOPBACK, free_port, free_ports, is_free


def test_free_ports_differ_and_are_not_used_for_outgoing_connections() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(20000 <= port < 32000 for port in found)


def test_no_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda *_: False)
    with pytest.raises(ServiceError, match="fewer than 2 ports between 20000 and 31999"):
        free_ports(2)


def test_a_port_that_is_listened_on_is_not_free() -> None:
    port = free_port()
    assert is_free(LOOPBACK, port)
    with socket.create_server((LOOPBACK, port)):
        assert not is_free(LOOPBACK, port)
