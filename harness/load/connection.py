"""One keep-alive HTTP/1.1 connection that can say what provably happened to a request.

General clients retry, reconnect and pool behind the caller's back, so an error does not
tell whether the request was sent; here each outcome has exactly one cause.
"""

from __future__ import annotations

import socket
import time

import httptools

from harness.load.answers import Reason

# Servers close idle connections (uvicorn after 5 s); a request written into such a
# closing connection would be unknown for no reason that the target is to blame for.
REUSE_WITHIN_S = 1.0


class _Answer:
    """Collects one response from the parser's callbacks."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.complete = False
        self.keep_alive = False

    def on_message_complete(self) -> None:
        self.complete = True
        # Known only now: the parser forgets it with the end of the message.
        self.keep_alive = self.parser.should_keep_alive()


class Connection:
    """A connection to one address; reconnects when the last one ended or went stale."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._used_at = 0.0
        self._pieces = False

    def exchange(self, request: bytes) -> int:
        """Send one request and return the HTTP status, or a Reason when there is none."""
        try:
            connected = self._connected()
        except ConnectionRefusedError:
            return Reason.CONNECTION_REFUSED
        except OSError:
            return Reason.CONNECT_FAILED
        try:
            connected.sendall(request)
            return self._answer(connected)
        except TimeoutError:
            self.close()
            return Reason.TIMED_OUT
        except OSError:
            self.close()
            return Reason.CONNECTION_LOST
        except httptools.HttpParserError:
            self.close()
            return Reason.MALFORMED

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is not None and time.monotonic() - self._used_at > REUSE_WITHIN_S:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout_s)
            self._pieces = False
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _answer(self, connected: socket.socket) -> int:
        answer = _Answer()
        begin = time.monotonic()
        while True:
            data = connected.recv(65536)
            if not data:
                raise ConnectionResetError
            answer.parser.feed_data(data)
            if answer.complete:
                break
            # Most answers come whole; only one in pieces needs what is left of its time.
            left_s = begin + self._timeout_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            connected.settimeout(left_s)
            self._pieces = True
        if self._pieces:
            connected.settimeout(self._timeout_s)
            self._pieces = False
        self._used_at = time.monotonic()
        if not answer.keep_alive:
            self.close()
        return int(answer.parser.get_status_code())
