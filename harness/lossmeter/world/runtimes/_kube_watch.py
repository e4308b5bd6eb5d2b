"""Hearing of each change of one kind of object, as the API tells it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

RAW = Mapping[str, Any]
WATCH_S = 86400


class PodWatch:
    """Hears of each change of one kind of object, from a thread of its own.

    Args:
        listing: a method of the client's that lists them; it may watch, too.
        hear: is given ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object.
        broke: is given why it does not go on.
    """

    def __init__(
        self,
        listing: Callable[..., Any],
        hear: Callable[[str, RAW], None],
        broke: Callable[[str], None],
    ) -> None:
        self._listing = listing
        self._hear = hear
        self._broke = broke
        self._response: Any = None
        self._over = threading.Event()
        version = self._list()
        self._thread = threading.Thread(
            target=self._follow, args=(version,), name="watch", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        with contextlib.suppress(Exception):
            self._response.shutdown()
        with contextlib.suppress(Exception):
            self._response.close()
        self._thread.join(2)

    def _list(self) -> str:
        everything = json.loads(self._listing(_preload_content=False).data)
        for item in everything.get("items") or []:
            self._hear("ADDED", item)
        return str(everything["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> None:
        try:
            for kind, item in self._changes(version):
                if kind == "ERROR":
                    why = str(item.get("message", item))
                    break
                self._hear(kind, item)
            else:
                why = "the API ended it"
        except Exception as error:  # noqa: BLE001 - whatever broke it, it is broken
            why = f"{type(error).__name__}: {error}"
        if not self._over.is_set():
            self._broke(why)

    def _changes(self, version: str) -> Iterator[tuple[str, RAW]]:
        self._response = self._listing(
            watch=True, resource_version=version, timeout_seconds=WATCH_S, _preload_content=False
        )
        rest = b""
        for piece in self._response.stream(amt=None, decode_content=False):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    change = json.loads(line)
                    yield str(change["type"]), change["object"]
