"""Interrupts: of this process, held back where needed; of a thread, passed on to it."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def abandon(thread: threading.Thread) -> None:
    """Raise ``SystemExit`` in another thread, which is an ordinary end of one.

    It comes as soon as the thread runs Python again: a call that blocks in the system is
    not cut short, but nothing is done after it.
    """
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
        )


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


class WholeStack(ExitStack):
    """A stack that is closed to its end before an interrupt that comes meanwhile is delivered.

    A callback that an interrupt cuts short is gone from the stack, and what it was to stop runs on.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        """Call what is on the stack, the last first."""
        try:
            with held_back():
                return super().__exit__(kind, error, traceback)
        except KeyboardInterrupt:
            # One that came before the others were held back: nothing has been called yet.
            super().__exit__(kind, error, traceback)
            raise
