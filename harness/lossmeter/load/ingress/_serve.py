"""The loop of the ingress programs that come with lossmeter."""

from __future__ import annotations

import json
import os
import string
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lossmeter.load.ingress._options import OPTIONS_VARIABLE

Event = Mapping[str, Any]

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"


def options() -> dict[str, Any]:
    """Return the options that this program was started with."""
    given: dict[str, Any] = json.loads(os.environ[OPTIONS_VARIABLE])
    return given


class Answers:
    """Writes answers; from any thread."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        os.dup2(2, 1)

    def ready(self) -> None:
        """Say that events can be taken."""
        self._out.write("ready\n")

    def give(self, *answers: tuple[str, str]) -> None:
        """Answer events: word and id of each."""
        with self._lock:
            self._out.write("".join(f"{word} {event}\n" for word, event in answers))
            self._out.flush()


class Lines:
    """Puts together what comes of the standard input."""

    def __init__(self) -> None:
        self._rest = b""

    def events(self, data: bytes) -> list[Event]:
        """Return the events that are complete with these bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


def batches(most: int = 256) -> Iterator[list[Event]]:
    """Yield the events that have come since the last, so many at once at the most."""
    lines = Lines()
    while data := os.read(0, 1 << 16):
        events = lines.events(data)
        for begin in range(0, len(events), most):
            yield events[begin : begin + most]


def filler(template: str) -> Callable[[Event], str]:
    """Return what fills a template with an event's fields."""
    return string.Template(template).substitute


def note(error: BaseException) -> None:
    """Write why an event was not acked to the program's log."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
