"""By what a payload is known again in a store."""

from __future__ import annotations

import hashlib


def payload_hash(text: str) -> int:
    """Return the first 8 bytes of the payload's MD5 as a signed integer.

    PostgreSQL computes the same as ``('x' || left(md5(payload), 16))::bit(64)::bigint``.
    """
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
