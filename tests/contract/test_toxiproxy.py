"""What commands the proxy, and who may."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lossmeter.errors import ServiceError, UsageError
from lossmeter.model import Address
from lossmeter.world import http_client
from lossmeter.world.service import Slot
from lossmeter.world.services._toxiproxy_control import Proxies
from lossmeter.world.services.toxiproxy import SERVICE
from lossmeter.world.site import Toxic
from tests.support.started import Server, loopback, prepared


@pytest.fixture(scope="module")
def toxiproxy() -> Iterator[Server]:
    with prepared("toxiproxy") as server:
        server.start()
        yield server


@contextmanager
def echo() -> Iterator[Address]:
    """A server that answers one connection after the other with what it got."""
    script = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    c, _ = s.accept()\n"
        "    while data := c.recv(99):\n"
        "        c.sendall(data)\n"
    )
    with subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Address("127.0.0.1", int(process.stdout.readline()))
        process.kill()


def round_trip_s(address: Address) -> float:
    with socket.create_connection((address.host, address.port), timeout=5) as client:
        begin = time.monotonic()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        return time.monotonic() - begin


def test_a_proxy_can_be_made_disturbed_closed_and_removed(toxiproxy: Server) -> None:
    proxies = Proxies(toxiproxy.slot)
    with echo() as upstream:
        front = loopback()
        proxies.create("echo", front, upstream)
        before = round_trip_s(front)
        proxies.add("echo", Toxic("slow", "latency", attributes={"latency": 300, "jitter": 0}))
        state = proxies.list()["echo"]
        during = round_trip_s(front)
        proxies.lift("echo", "slow")
        after = round_trip_s(front)

        assert (state.listen, state.upstream, state.enabled) == (str(front), str(upstream), True)
        assert [(name, toxic.attributes["latency"]) for name, toxic in state.toxics.items()] == [
            ("slow", 300)
        ]
        assert proxies.not_commanded() is None
        assert before < 0.2
        assert during >= 0.3
        assert after < 0.2

        proxies.disable("echo")
        assert not proxies.list()["echo"].enabled
        with pytest.raises(ConnectionRefusedError):
            round_trip_s(front)
        proxies.enable("echo")
        assert round_trip_s(front) < 0.2
        assert proxies.not_commanded() is None
        proxies.remove_all()
        assert proxies.list() == {}


def test_what_toxiproxy_refuses_is_an_error(toxiproxy: Server) -> None:
    proxies = Proxies(toxiproxy.slot)
    taken = toxiproxy.slot.listen
    proxies.create("one", loopback(), taken)
    with ExitStack() as stack:
        stack.callback(proxies.remove_all)

        with pytest.raises(ServiceError, match=r"refused to create one: .*already exists"):
            proxies.create("one", loopback(), taken)
        with pytest.raises(
            ServiceError, match=r"failed at post /proxies with 500: .*address already in use"
        ):
            proxies.create("two", taken, taken)
        with pytest.raises(ServiceError, match=r"refused to add odd to one: .*invalid toxic type"):
            proxies.add("one", Toxic("odd", "no-such-toxic"))
        for ask in (proxies.disable, proxies.enable):
            with pytest.raises(ServiceError, match="refused: it has no proxy three"):
                ask("three")
        with pytest.raises(ServiceError, match="toxic not found"):
            proxies.lift("one", "none")


def test_two_toxiproxies_are_not_mixed_up(toxiproxy: Server) -> None:
    with prepared("toxiproxy") as other:
        other.start()
        first, second = Proxies(toxiproxy.slot), Proxies(other.slot)
        first.create("first", loopback(), loopback())
        second.create("second", loopback(), loopback())

        assert [*first.list()] == ["first"]
        assert [*second.list()] == ["second"]
        first.remove_all()


def _place(listen: Address, password: str = "unknown") -> Slot:
    return Slot(Path("/nonexistent"), listen, listen, password)


def test_a_stranger_gives_toxiproxy_no_commands(toxiproxy: Server) -> None:
    listen = toxiproxy.slot.listen
    proxies = Proxies(toxiproxy.slot)
    proxies.create("left", loopback(), listen)
    stranger = Proxies(_place(listen))
    with pytest.raises(ServiceError, match="failed at get /proxies with 401"):
        stranger.disable("left")
    for path, method in (("/reset", "POST"), ("/version", "GET"), ("/proxies/left", "DELETE")):
        answer = http_client.ask(f"http://{listen}{path}", method=method)
        assert answer is not None
        assert answer.status == 401
    assert proxies.not_commanded() is None
    proxies.remove_all()


def test_a_toxiproxy_that_knows_no_secret_is_refused(toxiproxy: Server) -> None:
    """As the official image is: it answers everybody, whatever they show."""

    class Official(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"version": "2.12.0"}')

        def log_message(self, *_: object) -> None: ...

    assert SERVICE.ready(toxiproxy.slot)
    assert not SERVICE.ready(_place(toxiproxy.slot.listen))
    with ThreadingHTTPServer(("127.0.0.1", 0), Official) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        listen = Address("127.0.0.1", server.server_address[1])
        with pytest.raises(UsageError) as caught:
            SERVICE.ready(_place(listen))
        server.shutdown()
    assert str(caught.value).startswith(f"Toxiproxy 2.12.0 on {listen} takes commands from anybody")
    assert "unset LOSSMETER_IMAGE_TOXIPROXY" in str(caught.value)


def test_what_somebody_else_commanded_is_known(toxiproxy: Server) -> None:
    own, other = Proxies(toxiproxy.slot), Proxies(toxiproxy.slot)
    own.create("left", loopback(), toxiproxy.slot.listen)
    other.add("left", Toxic("slow", "latency", attributes={"latency": 100}))
    assert "disturbed by slow latency {'latency': 100}, and was" in (own.not_commanded() or "")
    other.lift("left", "slow")
    other.disable("left")
    assert "it is disabled" in (own.not_commanded() or "")
    other.enable("left")
    other.create("more", loopback(), toxiproxy.slot.listen)
    assert "in front of more" in (own.not_commanded() or "")
    other.remove_all()
    assert "it is not there" in (own.not_commanded() or "")
    own.remove_all()


def test_what_somebody_else_took_back_is_known(toxiproxy: Server) -> None:
    own, other = Proxies(toxiproxy.slot), Proxies(toxiproxy.slot)
    own.create("left", loopback(), toxiproxy.slot.listen)
    own.add("left", Toxic("slow", "latency", attributes={"latency": 100}))
    own.lift("left", "slow")
    other.list()
    assert own.not_commanded() is None
    other.disable("left")
    other.enable("left")
    assert "took back what they had done" in (own.not_commanded() or "")
    own.remove_all()


def test_root_starts_toxiproxy_without_its_rights(toxiproxy: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has rights to give up")
    assert toxiproxy.process is not None
    assert Path(f"/proc/{toxiproxy.process.pid}").stat().st_uid != 0


def test_a_toxiproxy_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossmeter.world.services._toxiproxy_control._COMMAND_S", 0.2)
    # It would be asked to reach our own machine for us.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxies = Proxies(_place(Address(*silent.getsockname())))
        with pytest.raises(ServiceError, match="did not answer to list: ReadTimeout"):
            proxies.list()
    with pytest.raises(ServiceError, match="did not answer to list: ConnectionError"):
        Proxies(_place(loopback())).list()
