"""Standard streams that cost no run its verdict: closed, broken, full, or without an encoding.

Mended before anything keeps a file open: what is opened while standard output is closed would
get its number, and be written into by everything that prints.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from lossmeter.errors import plain

# A pipe has no width of its own; a log keeps long lines better than broken ones.
PIPE_WIDTH = 140
_GONE = {errno.EPIPE, errno.EIO, errno.EBADF}


class _Lenient(io.FileIO):
    """A stream that is given up when its reader is gone; a reason that is no such is given."""

    def write(self, data: object) -> int:
        """Write, or drop what nobody reads."""
        view = memoryview(data)  # type: ignore[arg-type]
        written: int | None = None
        try:
            while written is None:
                written = super().write(view)
                if written is None:
                    # Another program made the terminal non-blocking.
                    select.select([], [self], [], 1.0)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if error.errno not in _GONE and self.fileno() == 1:
                sys.stderr.write(f"standard output cannot be written: {error.strerror}\n")
            return len(view)
        return written


def mend() -> None:
    """Make standard streams safe to write to, whatever they are."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is this one, since those below are in use.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(fd, True)
    sys.stdin = sys.stdin or _opened(0)
    sys.stdout, sys.stderr = (
        _lenient(fd, stream) for fd, stream in ((1, sys.stdout), (2, sys.stderr))
    )


def _opened(fd: int) -> TextIO:
    return open(fd, encoding="utf-8", errors="replace", closefd=False)


def _lenient(fd: int, stream: TextIO | None) -> TextIO:
    try:
        if stream is not None and stream.fileno() != fd:
            return stream
    except (OSError, ValueError):
        # A test's own, that is no file.
        return stream if stream is not None else _opened(fd)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    raw = io.BufferedWriter(_Lenient(fd, "wb", closefd=False))
    return io.TextIOWrapper(raw, encoding, "replace", line_buffering=fd == 2 or os.isatty(fd))


class SafeConsole(Console):
    """A console that prints text as text: nothing in it moves a cursor or sets a colour."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr)
        if not getattr(self.file, "isatty", bool)():
            self.width = PIPE_WIDTH

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the segments, those of text without control characters."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text == "\n":
                yield segment
            else:
                yield Segment(plain(segment.text), segment.style)
