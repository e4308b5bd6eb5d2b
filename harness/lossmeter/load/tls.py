"""TLS over a socket that never waits, with the calls of a plain one.

The ``ssl`` module's own sockets cannot be had beside Locust, which replaces them by ones that
switch between greenlets; its protocol object, between two buffers, is left alone.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ssl import PROTOCOL_TLS_CLIENT, MemoryBIO, SSLContext, SSLWantReadError, SSLZeroReturnError

from gevent.monkey import get_original

_RECORD_BYTES = 16384
_Context: type[SSLContext] = get_original("ssl", "SSLContext")


def client_context(certificates: str) -> SSLContext:
    """Return what verifies a server's certificate by those that are given, as PEM."""
    context = _Context(PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates)
    return context


class TlsSocket:
    """Speaks TLS over a connected socket that does not block."""

    def __init__(self, plain: socket.socket, context: SSLContext, server_name: str) -> None:
        self._plain = plain
        self._received, self._made = MemoryBIO(), MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._made, server_hostname=server_name)
        # Encrypted already, and not sent for want of room: of a message given to ``send``, or
        # of the protocol's own.
        self._unsent = b""
        self._taken = False

    def handshake(self) -> bool:
        """Go on with the handshake; return whether it is through.

        Raises:
            OSError: it failed, or the connection did.
        """
        with suppress(BlockingIOError):
            self._take_in()
        try:
            self._tls.do_handshake()
        except SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    def send(self, data: bytes) -> int:
        """Send all of it; where there is no room, the same data must be given again.

        Raises:
            BlockingIOError: not all could be sent yet.
            OSError: the connection broke.
        """
        if not self._taken:
            self._tls.write(data)
            self._taken = True
        self._flush()
        if self._unsent:
            raise BlockingIOError
        self._taken = False
        return len(data)

    def receive(self, most: int) -> bytes:
        """Return what has come; nothing where the server will send no more.

        Raises:
            BlockingIOError: nothing has come that could be read yet.
            OSError: the connection broke, or what came is not TLS.
        """
        over = not self._take_in()
        found = bytearray()
        with suppress(SSLWantReadError, SSLZeroReturnError):
            while piece := self._tls.read(most):
                found += piece
            over = True
        self._flush()
        if not found and not over:
            raise BlockingIOError
        return bytes(found)

    def _take_in(self) -> bool:
        """Move what has come to where it is decrypted; return False at the end of it."""
        data = self._plain.recv(_RECORD_BYTES)
        if data:
            self._received.write(data)
        else:
            self._received.write_eof()
        return bool(data)

    def _flush(self) -> None:
        self._unsent += self._made.read()
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self._plain.send(self._unsent) :]
