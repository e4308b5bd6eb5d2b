"""The load's connections against a real server that does what servers should not."""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmeter.record.answers import Reason
from tests.support.asking import REQUEST, Asking
from tests.support.nasty import OK, READ, RESET, Step, nasty
from tests.support.outcomes import CHUNKED, CLOSING, CONTINUE, OUTCOMES, UNTIL_CLOSED


def _refusing() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(("script", "code"), OUTCOMES)
def test_each_outcome_has_its_one_cause(script: list[Step], code: int) -> None:
    with nasty(script) as server, Asking(server.port, timeout_s=0.4) as asking:
        assert asking.ask() == code
        assert asking.connections.in_flight == 0


def test_what_was_reset_before_anybody_looked_was_connected() -> None:
    with nasty([RESET]) as server, Asking(server.port) as asking:
        token = asking.send()
        time.sleep(0.2)
        asking.wait(1)
        assert dict(asking.outcomes)[token] == Reason.CONNECTION_LOST


@pytest.mark.parametrize(
    "again",
    [
        [READ, OK, READ, OK],
        [READ, CHUNKED, READ, CHUNKED],
        [READ, CONTINUE + OK, READ, CONTINUE + OK],
        [READ, OK[:30], 0.02, OK[30:], READ, OK],
    ],
)
def test_a_connection_is_used_again_after_a_whole_answer(again: list[Step]) -> None:
    with nasty([*again, READ]) as server, Asking(server.port) as asking:
        assert [asking.ask(), asking.ask()] == [202, 202]
        assert server.connections == 1


@pytest.mark.parametrize(
    "first",
    [
        [READ, CLOSING, 0.5],
        [READ, UNTIL_CLOSED],
        [READ, OK + b"more than was asked for", 0.5],
        [READ, OK + OK, 0.5],
        [READ, OK, OK, 0.5],
        [READ, OK],
        [READ, b"HTTP/1.0 202 Accepted\r\nContent-Length: 2\r\n\r\nok", 0.5],
    ],
)
def test_no_answer_is_taken_for_that_to_the_next_request(first: list[Step]) -> None:
    no = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with nasty(first, [READ, no]) as server, Asking(server.port) as asking:
        assert asking.ask() == 202
        asking.idle(0.05)
        assert asking.ask() == 503
        assert server.connections == 2


def test_a_known_head_does_not_hide_what_follows_it() -> None:
    """The second answer begins like the first, and is longer, shorter or cut."""
    for second, code in [
        (OK[:-1], Reason.CONNECTION_LOST),
        (OK + b"x", 202),
        (OK.replace(b"202 Accepted", b"503 Accepted"), 503),
        (OK.replace(b"Length: 2", b"Length: 3"), Reason.CONNECTION_LOST),
    ]:
        with nasty([READ, OK, READ, second]) as server, Asking(server.port) as asking:
            assert [asking.ask(), asking.ask()] == [202, code]
            assert server.connections == 1


def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    with nasty([READ, OK, READ, OK]) as server, Asking(server.port) as asking:
        asking.ask()
        time.sleep(1.05)
        asking.ask()
        assert server.connections == 2


def test_a_request_larger_than_the_socket_takes_is_sent_whole() -> None:
    body = bytes(range(256)) * 40_000
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with nasty([0.2, READ, OK, READ, OK]) as server, Asking(server.port) as asking:
        assert asking.ask(request) == 202
        assert asking.ask() == 202
        assert server.requests[0][1] == request
        assert server.connections == 1


def test_an_answer_to_half_a_request_ends_the_connection() -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000
    too_large = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    with nasty([too_large, 0.3], [READ, OK]) as server, Asking(server.port) as asking:
        assert asking.ask(request) == 413
        assert asking.ask() == 202
        assert server.connections == 1, "the first one never got a whole request"


def test_requests_at_once_go_over_connections_of_their_own() -> None:
    with nasty([READ, 0.2, OK]) as server, Asking(server.port) as asking:
        begin = time.monotonic()
        tokens = {asking.send() for _ in range(20)}
        asking.wait(20)
        assert time.monotonic() - begin < 1.5, "one after the other takes 4 s"
        assert {token for token, code in asking.outcomes if code == 202} == tokens
        assert server.connections == 20


def test_one_that_is_silent_does_not_delay_the_others() -> None:
    with nasty([READ, 1.0], [READ, OK]) as server, Asking(server.port, timeout_s=0.5) as asking:
        silent, quick = asking.send(), asking.send()
        asking.wait(2)
        assert asking.outcomes == [(quick, 202), (silent, Reason.TIMED_OUT)]
        assert 0 <= asking.times_ns[1] - asking.times_ns[0] < 0.6e9


def test_a_refusing_instance_is_passed_over_for_the_next(tmp_path: Path) -> None:
    with nasty([READ, OK] * 6) as server:
        ports = (_refusing(), server.port, _refusing())
        with Asking(*ports, listed=tmp_path / "in-service") as asking:
            assert [asking.ask() for _ in range(6)] == [202] * 6
        assert len(server.requests) == 6


def test_a_lost_connection_is_not_tried_elsewhere(tmp_path: Path) -> None:
    with nasty([READ]) as losing, nasty([READ, OK] * 4) as serving:
        with Asking(losing.port, serving.port, listed=tmp_path / "in-service") as asking:
            codes = [asking.ask() for _ in range(4)]
        assert sorted(codes) == [Reason.CONNECTION_LOST] * 2 + [202] * 2
        assert len(losing.requests) == len(serving.requests) == 2


def test_all_refusing_is_refused(tmp_path: Path) -> None:
    with Asking(_refusing(), _refusing(), listed=tmp_path / "in-service") as asking:
        assert asking.ask() == Reason.CONNECTION_REFUSED


def test_a_name_that_leads_nowhere_is_no_refusal() -> None:
    from lossmeter.load.addresses import Addresses

    with Asking(1) as asking:
        asking.connections._addresses = Addresses(("nowhere.invalid", 80), None)
        assert asking.ask() == Reason.CONNECT_FAILED


def test_an_outcome_is_dated_after_the_answer_and_a_send_before_it() -> None:
    with nasty([READ, 0.1, OK[:10], 0.1, OK[10:]]) as server, Asking(server.port) as asking:
        begin_ns = time.monotonic_ns()
        asking.ask()
        assert 0.2e9 <= asking.times_ns[0] - begin_ns <= time.monotonic_ns() - begin_ns


@settings(max_examples=60, deadline=None)
@given(
    answers=st.lists(st.sampled_from([OK, CHUNKED, CONTINUE + OK]), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 100), max_size=8),
)
def test_however_answers_are_cut_each_is_read_once(answers: list[bytes], cuts: list[int]) -> None:
    script: list[Step] = []
    for answer in answers:
        script.append(READ)
        edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
        for begin, end in itertools.pairwise(edges):
            script += [answer[begin:end], 0.0005]
    with nasty(script) as server, Asking(server.port) as asking:
        assert [asking.ask(REQUEST) for _ in answers] == [202] * len(answers)
        assert server.connections == 1
