"""Reads answers off an HTTP/1.1 connection, and knows where each one ends.

The parser is llhttp's. As a server's heads hardly differ from one answer to the next (its
``Date`` does, once a second), a head that was parsed once is recognised by its bytes: what
it says of status and length is the same again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httptools

_MOST_HEADS = 256
_END_OF_HEAD = b"\r\n\r\n"
_SWITCHING_PROTOCOLS = 101


class Reader:
    """Collects one answer, however many pieces it comes in.

    Attributes:
        status: of the final answer; 0 while there is none. Interim ones (100 to 199) are
            passed over, except 101, after which the connection no longer speaks HTTP.
        keep_alive: the server lets the connection be used again.
        excess: bytes came that belong to no answer that was asked for.
    """

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self.keep_alive = False
        self.excess = False
        self.fixed_length: int | None = None
        self.simple = True
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what was received.

        Raises:
            httptools.HttpParserError: it is not HTTP, and no answer was complete before it.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.status, self.complete = self._parser.get_status_code(), True
        except httptools.HttpParserError:
            if not self.complete:
                raise
            self.excess = True

    def ended(self) -> bool:
        """Tell that the connection was closed in order; return whether that ends an answer.

        An answer that says nothing of its length goes on until the connection is closed.
        """
        if self.status and self.simple and self.fixed_length is None:
            self.complete = True
        return self.complete

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Notice what comes after the answer."""
        self.excess = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Notice how the length is given."""
        lower = name.lower()
        if lower == b"content-length":
            self.fixed_length = int(value)
        elif lower == b"transfer-encoding":
            self.simple = False

    def on_headers_complete(self) -> None:
        """Take the status of the answer, unless it is an interim one."""
        status = self._parser.get_status_code()
        if not self.complete and (status >= 200 or status == _SWITCHING_PROTOCOLS):
            self.status = status

    def on_message_complete(self) -> None:
        """Notice that the answer ended, unless it is an interim one."""
        if self.complete:
            return
        if self.status:
            self.complete = True
            # Known only now: the parser forgets it with the end of the message.
            self.keep_alive = self._parser.should_keep_alive()
        else:
            self.simple = False


@dataclass(slots=True)
class KnownHeads:
    """Heads seen before: their bytes, and the status and length of the body after them."""

    _known: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def status(self, data: bytes) -> int:
        """Return the status if this is one whole answer with a known head, else 0."""
        length = data.find(_END_OF_HEAD) + 4
        known = self._known.get(data[:length])
        if known is None or known[1] != len(data) - length:
            return 0
        return known[0]

    def learn(self, data: bytes, reader: Reader) -> None:
        """Remember the head of an answer that came alone, whole and not in chunks."""
        length = data.find(_END_OF_HEAD) + 4
        if (
            reader.simple
            and reader.keep_alive
            and not reader.excess
            and (reader.fixed_length or 0) == len(data) - length
        ):
            if len(self._known) >= _MOST_HEADS:
                self._known.clear()
            self._known[data[:length]] = (reader.status, len(data) - length)
