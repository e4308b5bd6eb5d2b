"""The load over TLS: outcomes have the causes that they have without; nobody else is believed."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from lossmeter.errors import UsageError
from lossmeter.plan.http import Http
from lossmeter.record.answers import Reason
from lossmeter.world.caller import Caller
from tests.support.asking import REQUEST, Asking
from tests.support.nasty import OK, READ, Step, nasty
from tests.support.outcomes import OUTCOMES


class Authority:
    """Signs the certificate of a server on the loopback."""

    def __init__(self, *names: str) -> None:
        authority = trustme.CA()
        self.pem = authority.cert_pem.bytes().decode()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(self.server)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.mark.parametrize(("script", "code"), OUTCOMES)
def test_each_outcome_has_the_cause_that_it_has_without(
    script: list[Step], code: int, authority: Authority
) -> None:
    with (
        nasty(script, tls=authority.server) as server,
        Asking(server.port, timeout_s=0.4, certificates=authority.pem) as asking,
    ):
        assert asking.ask() == code
        assert asking.connections.in_flight == 0


def test_a_connection_is_used_again_and_large_bodies_pass(authority: Authority) -> None:
    big = REQUEST.replace(b"Length: 0", b"Length: 4000000") + b"x" * 4_000_000
    with (
        nasty([READ, OK, READ, OK, READ], tls=authority.server) as server,
        Asking(server.port, timeout_s=10, certificates=authority.pem) as asking,
    ):
        assert [asking.ask(), asking.ask(big)] == [202, 202]
        assert server.connections == 1
        assert len(server.requests[1][1]) == len(big)


def test_a_server_that_another_authority_vouches_for_gets_nothing(authority: Authority) -> None:
    with (
        nasty([READ, OK], tls=authority.server) as server,
        Asking(server.port, certificates=Authority().pem) as asking,
    ):
        assert asking.ask() == Reason.CONNECT_FAILED
        assert server.requests == []


def test_the_name_in_the_certificate_counts() -> None:
    named = Authority("dispatcher.internal")
    for name, code in (("dispatcher.internal", 202), ("", Reason.CONNECT_FAILED)):
        with (
            nasty([READ, OK], tls=named.server) as server,
            Asking(server.port, certificates=named.pem, server_name=name) as asking,
        ):
            assert asking.ask() == code


def test_who_does_not_speak_tls_is_no_refusal(authority: Authority) -> None:
    with (
        nasty([b"HTTP/1.1 400 Bad Request\r\n\r\n", 0.2]) as server,
        Asking(server.port, certificates=authority.pem) as asking,
    ):
        assert asking.ask() == Reason.CONNECT_FAILED


def test_a_handshake_that_nobody_answers_is_over_in_time(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        with Asking(port, timeout_s=0.2, certificates=authority.pem) as asking:
            assert asking.ask() == Reason.CONNECT_FAILED


def test_an_end_that_anybody_could_have_made_proves_no_answer(authority: Authority) -> None:
    """Without TLS's own end, what lasts until the connection closes may be cut short."""
    until_closed = b"HTTP/1.1 202 Accepted\r\nServer: x\r\n\r\nas long as it"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            connection = authority.server.wrap_socket(plain, server_side=True)
            connection.recv(65536)
            connection.sendall(until_closed)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        port = int(listener.getsockname()[1])
        with Asking(port, certificates=authority.pem) as asking:
            assert asking.ask() == Reason.CONNECTION_LOST
        thread.join(5)


# What the harness itself asks the target.


def _http(tmp_path: Path, pem: str, **more: object) -> Http:
    (tmp_path / "ca.pem").write_text(pem)
    return Http.model_validate({"tls": {"ca": tmp_path / "ca.pem"} | more})


def test_the_harness_asks_over_tls_too(authority: Authority, tmp_path: Path) -> None:
    with nasty([READ, OK], tls=authority.server) as server:
        url = f"https://127.0.0.1:{server.port}"
        answer = Caller(_http(tmp_path, authority.pem)).ask(
            url, "/events", method="POST", body=b"{}"
        )
        assert answer is not None
        assert answer.status == 202
        assert (
            Caller(_http(tmp_path, Authority().pem)).ask(url, "/events", method="POST", body=b"{}")
            is None
        )
        other = _http(tmp_path, authority.pem, server_name="other.internal")
        assert Caller(other).ask(url, "/events", method="POST", body=b"{}") is None


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"http\.tls\.ca: .*ca\.pem holds no certificate"):
        Caller(_http(tmp_path, "nothing"))
    with pytest.raises(UsageError, match=r"http\.tls\.ca: .*none\.pem cannot be read"):
        Caller(Http.model_validate({"tls": {"ca": tmp_path / "none.pem"}}))


def test_one_that_does_not_read_is_waited_for(authority: Authority) -> None:
    """What has no room is sent later, once: the server gets each byte of the body."""
    size = 6_000_000
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with authority.server.wrap_socket(plain, server_side=True) as connection:
                threading.Event().wait(0.3)
                left = size
                while left > 0 and (piece := connection.recv(65536)):
                    got.append(piece)
                    left -= len(piece)
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        port = int(listener.getsockname()[1])
        with Asking(port, timeout_s=10, certificates=authority.pem) as asking:
            assert asking.ask(bytes(range(250)) * (size // 250)) == 202
        thread.join(5)
    assert b"".join(got) == bytes(range(250)) * (size // 250)
