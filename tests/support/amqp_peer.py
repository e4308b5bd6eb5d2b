"""A peer that speaks as much AMQP 0-9-1 as it takes to be slow, or to answer with nonsense.

A real broker does neither when it is asked to; what brokers do is tested with a real one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pika import frame, spec

_FRAME_MAX = 131072
_HEADER_BYTES = 8
_CAPABLE = {"capabilities": {"publisher_confirms": True, "basic.nack": True}}
_GREETING = frame.Method(0, spec.Connection.Start(server_properties=_CAPABLE)).marshal()
# What a publisher asks for before it publishes, and what a broker says to that.
_ANSWERS: dict[type, Callable[[Any], Any]] = {
    spec.Connection.StartOk: lambda _: spec.Connection.Tune(1, _FRAME_MAX, 0),
    spec.Connection.Open: lambda _: spec.Connection.OpenOk(),
    spec.Connection.Close: lambda _: spec.Connection.CloseOk(),
    spec.Channel.Open: lambda _: spec.Channel.OpenOk(),
    spec.Channel.Close: lambda _: spec.Channel.CloseOk(),
    spec.Queue.Declare: lambda asked: spec.Queue.DeclareOk(asked.queue, 0, 0),
    spec.Confirm.Select: lambda _: spec.Confirm.SelectOk(),
}


@dataclass
class Peer:
    """What it does, and what came of its publishers.

    Attributes:
        confirm: called with each message that came, in place of what a broker does.
        silent_at: the method to which it says nothing.
        greeting: what it says first.
        url: where it takes connections.
        asked: the methods that came, and the header of the protocol, over all connections.
        published: the bodies that came, in their order, over all connections.
    """

    confirm: Callable[[Talk], None]
    silent_at: type | None = None
    greeting: bytes = _GREETING
    url: str = ""
    asked: list[type] = field(default_factory=list)
    published: list[bytes] = field(default_factory=list)


class Talk:
    """One connection; ``tag`` is that of the message which came last."""

    def __init__(self, peer: Peer, taken: socket.socket) -> None:
        self.peer, self.tag = peer, 0
        self._socket = taken
        self._method: Any = None
        self._held = b""

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        with suppress(OSError):
            self._socket.sendall(data)

    def say(self, method: Any, channel: int = 1) -> None:
        """Send a method."""
        self.send(frame.Method(channel, method).marshal())

    def ack(self, tag: int, *, multiple: bool = False, channel: int = 1) -> None:
        """Confirm a message, or all up to it."""
        self.say(spec.Basic.Ack(tag, multiple), channel)

    def give_back(self, body: bytes) -> None:
        """Return a message as one that is bound nowhere."""
        self.say(spec.Basic.Return(312, "NO_ROUTE", "", "q"))
        self.send(frame.Header(1, len(body), spec.BasicProperties()).marshal())
        self.send(frame.Body(1, body).marshal())

    def go_on(self) -> None:
        """Take what the publisher sends until it goes."""
        with suppress(OSError):
            if len(self._socket.recv(_HEADER_BYTES, socket.MSG_WAITALL)) == _HEADER_BYTES:
                self.peer.asked.append(frame.ProtocolHeader)
                self.send(self.peer.greeting)
            while data := self._socket.recv(1 << 16):
                self._held += data
                while (taken := frame.decode_frame(self._held))[1] is not None:
                    self._held = self._held[taken[0] :]
                    self._take(taken[1])

    def _take(self, came: Any) -> None:
        if isinstance(came, frame.Body):
            self.tag += 1
            self.peer.published.append(came.fragment)
            self.peer.confirm(self)
            return
        method = getattr(came, "method", None)
        self.peer.asked.append(type(method))
        answer = _ANSWERS.get(type(method))
        if answer is not None and type(method) is not self.peer.silent_at:
            self.say(answer(method), came.channel_number)


@contextmanager
def amqp_peer(peer: Peer) -> Iterator[Peer]:
    """Have a peer take connections."""

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                taken.append(listener.accept()[0])
                threads.append(threading.Thread(target=Talk(peer, taken[-1]).go_on))
                threads[-1].start()

    taken: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        peer.url = f"amqp://x:y@127.0.0.1:{listener.getsockname()[1]}/%2F"
        yield peer
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for each in taken:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    for each in taken:
        each.close()
