"""A server that answers as told, connection by connection, however badly."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ssl import SSLContext, SSLSocket

READ = "read one request"
RESET = "reset the connection"
Step = bytes | float | str

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Nasty:
    """What it saw.

    Attributes:
        port: where it listens.
        requests: every whole request, in order, with the number of its connection.
    """

    port: int
    requests: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len({number for number, _ in self.requests})


@contextmanager
def nasty(*scripts: Sequence[Step], tls: SSLContext | None = None) -> Iterator[Nasty]:
    """Serve the n-th connection by the n-th script, the last one for all that follow.

    A script reads a request (READ), sends bytes, waits so many seconds, or resets (RESET);
    at its end the connection is closed. An empty one closes at once. With ``tls`` it does so
    over TLS, after the handshake.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    seen = Nasty(listener.getsockname()[1])
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            number = len(threads)
            script = scripts[min(number, len(scripts) - 1)]
            given = (seen, number, connection, script, tls)
            threads.append(threading.Thread(target=_play, args=given))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield seen
    finally:
        # Closing alone does not wake who accepts.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for thread in threads:
            thread.join(5)


def _play(
    seen: Nasty,
    number: int,
    connection: socket.socket,
    script: Sequence[Step],
    tls: SSLContext | None,
) -> None:
    connection.settimeout(5)
    if tls is not None:
        try:
            connection = tls.wrap_socket(connection, server_side=True)
        except OSError:
            return
    rest = b""
    with connection:
        try:
            for step in script:
                if isinstance(step, bytes):
                    connection.sendall(step)
                elif isinstance(step, float):
                    time.sleep(step)
                elif step == RESET:
                    connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    return
                else:
                    request, rest = _read(connection, rest)
                    seen.requests.append((number, request))
            if isinstance(connection, SSLSocket):
                connection.settimeout(0.2)
                connection.unwrap()
        except (OSError, EOFError):
            return


def _read(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    """Return one request and what came after it."""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(body) >= length:
                return head + end + body[:length], body[length:]
        more = connection.recv(65536)
        if not more:
            raise EOFError
        data += more
