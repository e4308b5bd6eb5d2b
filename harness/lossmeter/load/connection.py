"""Keep-alive HTTP/1.1 connections that can say what provably happened to each request.

General clients retry, reconnect and pool behind the caller's back, so an error does not
tell whether the request was sent; here each outcome has exactly one cause.

All connections are driven from one place, by epoll: a thread or a greenlet for each would
cost two switches an event, which is more than the rest of it.
"""

from __future__ import annotations

import errno
import socket as names
import time
from collections.abc import Callable, Sequence
from select import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from ssl import SSLContext
from typing import Generic, TypeVar

import httptools

from lossmeter.load.addresses import Address, Addresses
from lossmeter.load.http1 import KnownHeads, Reader
from lossmeter.load.tls import TlsSocket
from lossmeter.load.unpatched import Epoll, Socket
from lossmeter.record.answers import Reason

# Servers close idle connections (uvicorn after 5 s); a request written into such a
# closing connection would be unknown for no reason that the target is to blame for.
REUSE_WITHIN_NS = 1_000_000_000

# How often time-outs are looked for, and so how late one may be noticed.
LOOK_EVERY_NS = 10_000_000

_RECEIVE_BYTES = 16384

# Hearing that the server will send no more, together with its answer, keeps the connection
# from being used once too often.
_READ = EPOLLIN | EPOLLRDHUP

# What an address is to the system: family and socket address.
Place = tuple[int, tuple[str | int, ...] | tuple[int, bytes]]

Token = TypeVar("Token")


class _Connection(Generic[Token]):
    """One connection; carries one request at a time, that of ``token``."""

    __slots__ = (
        "connected",
        "deadline_ns",
        "fd",
        "others",
        "place",
        "reader",
        "receive",
        "send",
        "socket",
        "tls",
        "token",
        "unsent",
        "used_ns",
    )

    def __init__(self, place: Place) -> None:
        self.place = place
        self.socket = Socket(place[0], names.SOCK_STREAM)
        self.fd = self.socket.fileno()
        self.send: Callable[[bytes], int] = self.socket.send
        self.receive: Callable[[int], bytes] = self.socket.recv
        self.connected = False
        self.deadline_ns = 0
        self.others: Sequence[Place] = ()
        self.reader: Reader | None = None
        self.tls: TlsSocket | None = None
        self.token: Token | None = None
        self.unsent = b""
        self.used_ns = 0


class Connections(Generic[Token]):
    """Sends requests, each on a connection of its own, and tells what became of each.

    Args:
        addresses: the instances; one that refuses a connection is passed over for the next.
        timeout_s: bound on connecting, and then on the answer.
        tell: called once for each request with its token, the HTTP status or a Reason, and
            the monotonic nanoseconds at which it was known: read after the last byte of
            the answer was received, so no answer is dated before it was there.
        tls: verifies the instances; None where they speak no TLS.
        server_name: who they are in their certificates; empty for their address.

    Attributes:
        in_flight: requests without an outcome so far.
    """

    def __init__(
        self,
        addresses: Addresses,
        timeout_s: float,
        tell: Callable[[Token, int, int], None],
        tls: SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        self.in_flight = 0
        self._tls, self._server_name = tls, server_name
        self._addresses = addresses
        self._timeout_ns = round(timeout_s * 1e9)
        self._tell = tell
        self._epoll = Epoll()
        self._look = self._epoll.poll
        self._all: dict[int, _Connection[Token]] = {}
        # Last in, first out keeps few connections busy while the target is fast, and lets
        # their number grow by itself while it stalls.
        self._idle: dict[Place, list[_Connection[Token]]] = {}
        self._places: dict[Address, list[Place]] = {}
        self._refused: list[_Connection[Token]] = []
        self._heads = KnownHeads()
        self._looked_ns = 0

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``poll`` has something to do."""
        return self._epoll.fileno()

    def send(self, token: Token, request: bytes, now_ns: int) -> None:
        """Send a request to the instance whose turn it is."""
        self.in_flight += 1
        addresses = self._addresses.in_turn()
        places: Sequence[Place] = self._places.get(addresses[0]) or self._found(addresses[0])
        if len(addresses) > 1:
            places = [place for address in addresses for place in self._found(address)]
        if places:
            self._send_to(places, token, request, now_ns)
        else:
            self._outcome(token, Reason.CONNECT_FAILED)

    def poll(self) -> None:
        """Take in what has come since the last call, without waiting."""
        known, heads = self._all, self._heads
        for fd, event in self._look(0):
            connection = known[fd]
            if event != EPOLLIN or not connection.connected or connection.reader is not None:
                self._advance(connection, event)
                continue
            # The usual case, an answer in one piece, without a further call.
            try:
                data = connection.receive(_RECEIVE_BYTES)
            except OSError as error:
                self._broken(connection, error)
                continue
            status = heads.status(data)
            if status and connection.token is not None and not connection.unsent:
                self._answered(connection, status)
            else:
                self._received(connection, data)
        now_ns = time.monotonic_ns()
        if self._refused:
            self._ask_the_next(now_ns)
        if now_ns - self._looked_ns > LOOK_EVERY_NS:
            self._looked_ns = now_ns
            self._expire(now_ns)

    def close(self) -> None:
        """Close every connection; requests in flight get no outcome."""
        for connection in list(self._all.values()):
            self._close(connection)
        self._epoll.close()

    # The way of a request: an idle connection or a new one, and from there to its outcome.

    def _found(self, address: Address) -> list[Place]:
        """Return where an address is found, by name or by number; nothing if nowhere."""
        if address not in self._places:
            try:
                found = names.getaddrinfo(*address, type=names.SOCK_STREAM)
            except OSError:
                return []
            self._places[address] = [(family, place) for family, _, _, _, place in found]
        return self._places[address]

    def _send_to(self, places: Sequence[Place], token: Token, request: bytes, now_ns: int) -> None:
        """Send to the first place; to the others, as each before refuses the connection."""
        try:
            connection = self._idle_one(places[0], now_ns) or self._new(places[0])
        except OSError:
            # No descriptors are left: nothing was sent, but nor was it refused.
            self._outcome(token, Reason.CONNECT_FAILED)
            return
        connection.token, connection.others, connection.unsent = token, places[1:], request
        connection.deadline_ns = now_ns + self._timeout_ns
        if connection.connected:
            self._write(connection)
        else:
            self._connect(connection)

    def _idle_one(self, place: Place, now_ns: int) -> _Connection[Token] | None:
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if self._all.get(connection.fd) is connection:
                if now_ns - connection.used_ns <= REUSE_WITHIN_NS:
                    return connection
                self._close(connection)
        return None

    def _new(self, place: Place) -> _Connection[Token]:
        connection = _Connection[Token](place)
        self._all[connection.fd] = connection
        connection.socket.setblocking(False)
        connection.socket.setsockopt(names.IPPROTO_TCP, names.TCP_NODELAY, 1)
        self._epoll.register(connection.fd, _READ | EPOLLOUT)
        return connection

    def _connect(self, connection: _Connection[Token]) -> None:
        code = connection.socket.connect_ex(connection.place[1])
        if code not in {0, errno.EINPROGRESS}:
            self._not_connected(connection, code)

    def _not_connected(self, connection: _Connection[Token], code: int) -> None:
        """Ask the next instance where one refused: a refused connection carried nothing."""
        if code == errno.ECONNREFUSED and connection.others:
            # Not at once: a new connection might get the number of one whose event is
            # still to be looked at.
            self._drop(connection)
            self._refused.append(connection)
        elif code == errno.ECONNREFUSED:
            self._finish(connection, Reason.CONNECTION_REFUSED)
        elif code == errno.ECONNRESET:
            # It was connected, and reset before that was looked at.
            self._finish(connection, Reason.CONNECTION_LOST)
        else:
            self._finish(connection, Reason.CONNECT_FAILED)

    def _ask_the_next(self, now_ns: int) -> None:
        refused, self._refused = self._refused, []
        for connection in refused:
            if connection.token is not None:
                self._send_to(connection.others, connection.token, connection.unsent, now_ns)

    def _write(self, connection: _Connection[Token]) -> None:
        """Send what is not sent yet; what the socket has no room for goes later."""
        whole = len(connection.unsent)
        try:
            sent = connection.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._broken(connection, error)
            return
        if sent == whole:
            connection.unsent = b""
        else:
            connection.unsent = connection.unsent[sent:]
            self._epoll.modify(connection.fd, _READ | EPOLLOUT)

    def _advance(self, connection: _Connection[Token], event: int) -> None:
        """Go on with a connection that is not simply being answered."""
        if not connection.connected:
            code = connection.socket.getsockopt(names.SOL_SOCKET, names.SO_ERROR)
            if code or not (event & EPOLLOUT or connection.tls):
                self._not_connected(connection, code)
                return
            if self._tls is not None and not self._agreed(connection, self._tls):
                return
            connection.connected = True
            connection.deadline_ns = time.monotonic_ns() + self._timeout_ns
            self._epoll.modify(connection.fd, _READ)
            self._write(connection)
            return
        if event & EPOLLOUT and connection.unsent:
            self._epoll.modify(connection.fd, _READ)
            self._write(connection)
        if event & ~EPOLLOUT and connection.fd in self._all:
            try:
                data = connection.receive(_RECEIVE_BYTES)
            except OSError as error:
                self._broken(connection, error)
            else:
                self._received(connection, data)
                over = event & (EPOLLRDHUP | EPOLLHUP) and connection.token is None
                if over and self._all.get(connection.fd) is connection:
                    self._close(connection)

    def _agreed(self, connection: _Connection[Token], context: SSLContext) -> bool:
        """Go on with the handshake, before which nothing of a request is sent."""
        tls = connection.tls
        if tls is None:
            name = self._server_name or str(connection.place[1][0])
            connection.tls = tls = TlsSocket(connection.socket, context, name)
            connection.send, connection.receive = tls.send, tls.receive
            self._epoll.modify(connection.fd, _READ)
        try:
            return tls.handshake()
        except OSError:
            self._not_connected(connection, errno.EPROTO)
            return False

    def _received(self, connection: _Connection[Token], data: bytes) -> None:
        """Read what is not one whole answer of a known kind."""
        if connection.token is None:
            # Closed by the server, or speaking unasked: either way of no more use.
            self._close(connection)
            return
        reader = connection.reader or Reader()
        if not data:
            if reader.ended():
                self._finish(connection, reader.status)
            else:
                self._finish(connection, Reason.CONNECTION_LOST)
            return
        try:
            reader.feed(data)
        except httptools.HttpParserError:
            self._finish(connection, Reason.MALFORMED)
            return
        if not reader.complete:
            connection.reader = reader
        elif not reader.keep_alive or reader.excess or connection.unsent:
            # After more than was asked for, or an answer to half a request, nobody knows
            # to which request the next answer belongs.
            self._finish(connection, reader.status)
        else:
            if connection.reader is None:
                self._heads.learn(data, reader)
            connection.reader = None
            self._answered(connection, reader.status)

    def _broken(self, connection: _Connection[Token], error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            return
        self._finish(connection, Reason.CONNECTION_LOST)

    def _answered(self, connection: _Connection[Token], status: int) -> None:
        """Tell the outcome and keep the connection for the next request."""
        token = connection.token
        connection.token = None
        connection.used_ns = now_ns = time.monotonic_ns()
        try:
            self._idle[connection.place].append(connection)
        except KeyError:
            self._idle[connection.place] = [connection]
        self.in_flight -= 1
        if token is not None:
            self._tell(token, status, now_ns)

    def _finish(self, connection: _Connection[Token], code: int) -> None:
        """Tell the outcome, if one is waited for, and close the connection."""
        token = connection.token
        self._close(connection)
        if token is not None:
            self._outcome(token, code)

    def _outcome(self, token: Token, code: int) -> None:
        self.in_flight -= 1
        self._tell(token, code, time.monotonic_ns())

    def _close(self, connection: _Connection[Token]) -> None:
        connection.token = None
        self._drop(connection)

    def _drop(self, connection: _Connection[Token]) -> None:
        del self._all[connection.fd]
        connection.socket.close()

    def _expire(self, now_ns: int) -> None:
        late = [
            connection
            for connection in self._all.values()
            if connection.deadline_ns <= now_ns and connection.token is not None
        ]
        for connection in late:
            connected = connection.connected
            self._finish(connection, Reason.TIMED_OUT if connected else Reason.CONNECT_FAILED)
