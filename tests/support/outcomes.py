"""What a server may do with a request, and what each proves of it."""

from __future__ import annotations

from lossmeter.record.answers import Reason
from tests.support.nasty import OK, READ, RESET, Step

CLOSING = b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 202 Accepted\r\nServer: x\r\n\r\nas long as it lasts"

OUTCOMES: list[tuple[list[Step], int]] = [
    ([READ, OK], 202),
    ([READ, OK[:30], 0.05, OK[30:]], 202),
    ([READ, *(bytes([byte]) for byte in OK)], 202),
    ([READ, CHUNKED], 202),
    ([READ, CHUNKED[:60], 0.05, CHUNKED[60:]], 202),
    ([READ, CLOSING], 202),
    ([READ, CONTINUE, OK], 202),
    ([READ, CONTINUE, 0.05, OK], 202),
    ([READ, CONTINUE + CONTINUE + OK], 202),
    ([READ, UNTIL_CLOSED], 202),
    ([READ, b"HTTP/1.1 204 No Content\r\n\r\n"], 204),
    ([READ, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"], 503),
    ([READ, b"HTTP/1.0 202 Accepted\r\nContent-Length: 2\r\n\r\nok"], 202),
    (
        [
            READ,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ],
        101,
    ),
    # No answer, or half of one.
    ([READ], Reason.CONNECTION_LOST),
    ([READ, RESET], Reason.CONNECTION_LOST),
    ([], Reason.CONNECTION_LOST),
    ([RESET], Reason.CONNECTION_LOST),
    ([READ, OK[:-1]], Reason.CONNECTION_LOST),
    ([READ, OK[:-1], RESET], Reason.CONNECTION_LOST),
    ([READ, OK[:20]], Reason.CONNECTION_LOST),
    ([READ, CHUNKED[:-5]], Reason.CONNECTION_LOST),
    ([READ, CONTINUE], Reason.CONNECTION_LOST),
    ([READ, UNTIL_CLOSED, 0.05, RESET], Reason.CONNECTION_LOST),
    # What is no HTTP.
    ([READ, b"\x00\x01\x02\x03"], Reason.MALFORMED),
    ([READ, b"HTTP/1.1 abc\r\n\r\n"], Reason.MALFORMED),
    (
        [READ, b"HTTP/1.1 202 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk"],
        Reason.MALFORMED,
    ),
    ([READ, b"HTTP/1.1 202 OK\r\nContent-Length: -1\r\n\r\n"], Reason.MALFORMED),
    ([READ, CHUNKED.replace(b"5\r\n", b"z\r\n")], Reason.MALFORMED),
    # Silence.
    ([READ, 1.0], Reason.TIMED_OUT),
    ([READ, OK[:-1], 1.0], Reason.TIMED_OUT),
    ([READ, UNTIL_CLOSED, 1.0], Reason.TIMED_OUT),
]
