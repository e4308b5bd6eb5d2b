"""Commands of somebody else to Toxiproxy are known, also when they left no trace."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world.service import Slot
from lossmeter.world.services._toxiproxy_control import COMMANDS, Proxies
from lossmeter.world.site import Toxic

UPSTREAM, LISTEN = Address("127.0.0.1", 5432), Address("127.0.0.1", 20001)


class Toxiproxy(ThreadingHTTPServer):
    """What speaks as the server does, of one proxy, and numbers commands where it is to."""

    def __init__(self, *, counts: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.counts, self.commands, self.silent = counts, 0, False
        self.proxies: dict[str, dict[str, object]] = {}

    @property
    def slot(self) -> Slot:
        host, port = self.server_address[:2]
        here = Address(str(host), int(port))
        return Slot(Path("/nonexistent"), here, here, "secret")


class _Answers(BaseHTTPRequestHandler):
    server: Toxiproxy

    def do_GET(self) -> None:
        named = self.server.proxies.get("db", {})
        toxics = self.path.endswith("/toxics")
        self._answer([] if toxics else named if "/db" in self.path else self.server.proxies)

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.commands += 1
        if self.server.silent:
            self.close_connection = True
            return
        self.server.proxies["db"] = self.server.proxies.get("db", {"toxics": []}) | given
        self._answer(self.server.proxies["db"])

    def _answer(self, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        if self.server.counts:
            self.send_header(COMMANDS, str(self.server.commands))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[True, False], ids=["counts", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[Toxiproxy]:
    with Toxiproxy(counts=request.param) as toxiproxy:
        thread = threading.Thread(target=toxiproxy.serve_forever, args=(0.01,))
        thread.start()
        yield toxiproxy
        toxiproxy.shutdown()
        thread.join()


def test_what_somebody_else_did_and_took_back_is_known(server: Toxiproxy) -> None:
    own, other = Proxies(server.slot), Proxies(server.slot)
    own.create("db", LISTEN, UPSTREAM)
    own.disable("db")
    own.enable("db")
    other.list()
    assert own.not_commanded() is None
    other.disable("db")
    other.enable("db")
    said = own.not_commanded()
    # The official image does not count, so of it only what lasts is known.
    assert (said is not None) is server.counts
    assert own.not_commanded() == said, "once known, it stays"


def test_an_own_command_without_an_answer_is_nobody_else_s(server: Toxiproxy) -> None:
    own = Proxies(server.slot)
    own.create("db", LISTEN, UPSTREAM)
    server.silent = True
    with pytest.raises(ServiceError, match="did not answer"):
        own.add("db", Toxic("slow", "latency", attributes={"latency": 100}))
    server.silent = False
    assert own.not_commanded() is None
