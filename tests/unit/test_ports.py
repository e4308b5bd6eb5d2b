from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from lossmeter.errors import ServiceError
from lossmeter.world import ports
from lossmeter.world.claims import Claims
from lossmeter.world.ports import LOOPBACK, free_port, free_ports, is_free


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


_OTHER = """
from lossmeter.world import ports
from lossmeter.world.claims import Claims
# Where nothing else of the tests looks.
ports._RANGE = range(19000, 19040)
print(*ports.free_ports(20), flush=True)
input()
"""


def _other() -> tuple[subprocess.Popen[str], set[int]]:
    process = subprocess.Popen(
        (sys.executable, "-c", _OTHER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, set(map(int, process.stdout.readline().split()))


def test_processes_that_look_at_once_never_find_the_same_ports() -> None:
    one, its = _other()
    with one:
        other, others = _other()
        with other:
            assert len(its) == len(others) == 20
            assert not its & others
            # What is killed holds nothing any longer.
            other.kill()
        again, found = _other()
        with again:
            assert found == others
            again.kill()
        one.kill()


def test_a_process_holds_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_CLAIMS", Claims(most=30))
    before = free_ports(20)
    later = free_ports(20)
    assert not set(before) & set(later)
    assert ports._CLAIMS.names[-20:] == [f"port-{port}" for port in later]
    assert len(ports._CLAIMS.names) == 30
