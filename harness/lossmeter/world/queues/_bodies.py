"""What stands in a message whose body is encoded, as text in which an id can be found.

A pickle is never loaded: loading runs whatever it says. Its opcodes are read one by one, and the
texts and numbers among them are all that is taken from it.
"""

from __future__ import annotations

import base64
import json
import pickletools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

Encoding = Literal["base64", "zlib", "gzip", "pickle"]

# What a few bytes may grow to.
_MOST_BYTES = 1 << 24
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_SCALARS = (str, int, float, bytes)


def pointed(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer (RFC 6901) names in a parsed value.

    Raises:
        ValueError, KeyError, IndexError, TypeError: it names nothing.
    """
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def body_of(message: str, pointers: Sequence[str], encoding: Sequence[Encoding]) -> str | None:
    """Return the text of a message's body; None where the message has none of that kind.

    Args:
        message: what the broker holds; bytes that are no UTF-8 as surrogates.
        pointers: JSON pointers to the body in a message that is JSON, of which the first that
            leads somewhere counts; with none the message is the body.
        encoding: what is undone, the outermost first.
    """
    body = _part(message, pointers) if pointers else message
    if body is None or not encoding:
        return body
    data = body.encode("utf-8", "surrogateescape")
    try:
        for each in encoding:
            data = _UNDONE[each](data)
    except (ValueError, zlib.error, RecursionError):
        return None
    return data.decode("utf-8", "surrogateescape")


def _part(message: str, pointers: Sequence[str]) -> str | None:
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):
        return None
    for pointer in pointers:
        try:
            part = pointed(parsed, pointer)
        except (ValueError, KeyError, IndexError, TypeError):
            continue
        return part if isinstance(part, str) else json.dumps(part)
    return None


def _inflated(data: bytes) -> bytes:
    inflating = zlib.decompressobj(_GZIP_OR_ZLIB)
    found = inflating.decompress(data, _MOST_BYTES)
    if not inflating.eof:
        raise ValueError("cut short, or larger than any message")
    return found


def _unpickled(data: bytes) -> bytes:
    """Return the texts and numbers of a pickle in their order, as a JSON list."""
    found: list[object] = []
    known: dict[int, object] = {}
    last: object = None
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name == "MEMOIZE" or "PUT" in name:
            known[len(known) if argument is None else int(argument)] = last
            continue
        # What was written once already is only referred to.
        last = known.get(int(argument or 0)) if "GET" in name else _scalar(name, argument)
        if last is not None:
            found.append(last)
    return json.dumps(found).encode()


def _scalar(opcode: str, argument: object) -> object:
    """Return the text or number that an opcode puts into a value; None for any other opcode."""
    if opcode in {"PROTO", "FRAME", "GLOBAL", "INST"} or "PERSID" in opcode or "EXT" in opcode:
        return None
    if not isinstance(argument, _SCALARS):
        return None
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else argument


_UNDONE: Mapping[Encoding, Callable[[bytes], bytes]] = {
    "base64": base64.b64decode,
    "zlib": _inflated,
    "gzip": _inflated,
    "pickle": _unpickled,
}
