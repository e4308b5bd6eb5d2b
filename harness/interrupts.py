"""Interrupts that wait: what must not be left half done is done first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held_back() -> Iterator[None]:
    """Have interrupts wait until the end of the block; then the first of them is delivered.

    Only those that somebody handles are held back, and only in the main thread, which is
    the one that gets them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []

    def wait(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))

    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    handled = {number: each for number, each in handlers.items() if callable(each)}
    for number in handled:
        signal.signal(number, wait)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        for came_number, frame in came:
            handled[signal.Signals(came_number)](came_number, frame)
