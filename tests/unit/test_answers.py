from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lossmeter.model import Status
from lossmeter.record.answers import Reason, classify, described
from tests.support.asking import Asking

ACCEPTED, REFUSED = (202,), (429, 503)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (202, Status.ACKED),
        (503, Status.REFUSED),
        (429, Status.REFUSED),
        (Reason.CONNECTION_REFUSED, Status.REFUSED),
        (Reason.CONNECT_FAILED, Status.UNKNOWN),
        (Reason.CONNECTION_LOST, Status.UNKNOWN),
        (Reason.TIMED_OUT, Status.UNKNOWN),
        (Reason.MALFORMED, Status.UNKNOWN),
        (200, Status.UNKNOWN),
        (500, Status.UNKNOWN),
        (504, Status.UNKNOWN),
    ],
)
def test_only_the_allow_list_is_refused(code: int, status: Status) -> None:
    assert classify(code, ACCEPTED, REFUSED) is status


@contextmanager
def _server(*answers: bytes | None) -> Iterator[int]:
    """Serve one canned answer per request; None closes without one."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                if not connection.recv(65536):
                    return
                if answer is None:
                    return
                connection.sendall(answer)
            connection.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(2)


def _answer(status: str, body: str = "ok") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_statuses_are_read_on_one_connection() -> None:
    with (
        _server(_answer("202 Accepted"), _answer("503 Service Unavailable", "queue is full")) as p,
        Asking(p, timeout_s=2.0) as asking,
    ):
        assert asking.ask() == 202
        assert asking.ask() == 503


def test_a_body_without_length_ends_with_the_chunks() -> None:
    chunked = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with _server(chunked, _answer("202 Accepted")) as port, Asking(port, timeout_s=2.0) as asking:
        assert asking.ask() == 202
        assert asking.ask() == 202


def test_nobody_listening_is_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Asking(port, timeout_s=1.0) as asking:
        assert asking.ask() == Reason.CONNECTION_REFUSED


def test_a_connection_closed_after_the_request_is_lost_not_refused() -> None:
    with _server(None) as port, Asking(port, timeout_s=1.0) as asking:
        assert asking.ask() == Reason.CONNECTION_LOST


def test_half_an_answer_is_no_answer() -> None:
    with _server(b"HTTP/1.1 202 Acc", None) as port, Asking(port, timeout_s=0.3) as asking:
        assert asking.ask() == Reason.TIMED_OUT


def test_silence_times_out() -> None:
    with _server(b"") as port, Asking(port, timeout_s=0.2) as asking:
        assert asking.ask() == Reason.TIMED_OUT


def test_what_is_not_http_is_malformed() -> None:
    with _server(b"SSH-2.0-hello\r\n") as port, Asking(port, timeout_s=1.0) as asking:
        assert asking.ask() == Reason.MALFORMED


def test_outcomes_are_named_with_their_status_codes() -> None:
    counts = {500: 3, int(Reason.TIMED_OUT): 40, 0: 1, 307: 3}
    assert (
        described(counts) == "40 × timed out, 3 × HTTP 307, 3 × HTTP 500, 1 × no outcome recorded"
    )
