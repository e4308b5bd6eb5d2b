"""Has members leave a consumer group, whether or not they are still there.

Kafka keeps the place of a member that was killed until its session has ended, which can take
minutes, and deletes no group with a place taken. An administrator may give the places up; of
the clients for Python none offers it. Requests and answers are those of Kafka's protocol guide:
``SaslHandshake`` 1, ``SaslAuthenticate`` 0, ``LeaveGroup`` 3.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from lossmeter.errors import ServiceError
from lossmeter.model import Address

_LEAVE_GROUP, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = 13, 17, 36
_ANSWER_S = 5.0
_GONE = 25  # UNKNOWN_MEMBER_ID: its session ended meanwhile
_LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """A place in a group; ``instance`` is that of a static member."""

    id: str
    instance: str | None


def leave(
    node: Address, username: str, password: str, group: str, members: Sequence[Member]
) -> None:
    """Give up the places of members, at the node that coordinates the group.

    Raises:
        ServiceError: the node does not answer, or refused.
    """
    try:
        with socket.create_connection((node.host, node.port), timeout=_ANSWER_S) as connection:
            _log_in(connection, username, password)
            body = _string(group) + struct.pack(">i", len(members))
            body += b"".join(_string(m.id) + _string(m.instance) for m in members)
            answer = _ask(connection, _LEAVE_GROUP, 3, body)
    except OSError as error:
        raise ServiceError(f"kafka on {node} did not let members leave {group}: {error}") from None
    _check(answer, group)


def _log_in(connection: socket.socket, username: str, password: str) -> None:
    for code, version, body in (
        (_SASL_HANDSHAKE, 1, _string("PLAIN")),
        (_SASL_AUTHENTICATE, 0, _bytes(f"\0{username}\0{password}".encode())),
    ):
        (refused,) = struct.unpack_from(">h", _ask(connection, code, version, body))
        if refused:
            raise ServiceError(f"kafka refused the log-in, error code {refused}")


def _check(answer: bytes, group: str) -> None:
    """Read throttle time, error of the group, and of each member its names and error."""
    _, refused, count = struct.unpack_from(">ihi", answer)
    at = struct.calcsize(">ihi")
    codes = [refused]
    for _ in range(count):
        for _ in range(2):
            (length,) = struct.unpack_from(">h", answer, at)
            at += 2 + max(0, length)
        codes.append(struct.unpack_from(">h", answer, at)[0])
        at += 2
    wrong = [code for code in codes if code not in {0, _GONE}]
    if wrong:
        raise ServiceError(f"kafka kept members in group {group}, error code {wrong[0]}")


def _ask(connection: socket.socket, code: int, version: int, body: bytes) -> bytes:
    """Send one request and return the body of its answer."""
    message = struct.pack(">hhi", code, version, code) + _string("lossmeter") + body
    connection.sendall(struct.pack(">i", len(message)) + message)
    (length,) = struct.unpack(">i", _exactly(connection, 4))
    if not 4 <= length <= _LARGEST:
        raise ServiceError(f"kafka announced an answer of {length} bytes")
    return _exactly(connection, length)[4:]


def _exactly(connection: socket.socket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        piece = connection.recv(count - len(got))
        if not piece:
            raise ConnectionResetError("it closed the connection")
        got += piece
    return bytes(got)


def _string(text: str | None) -> bytes:
    if text is None:
        return struct.pack(">h", -1)
    return struct.pack(">h", len(text.encode())) + text.encode()


def _bytes(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data
