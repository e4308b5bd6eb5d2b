"""How far a download has come: bytes, and the seconds that are left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lossmeter.record.files import files_below

# A terminal is to be read, and a log of a pipeline not to be filled.
_EVERY_S = 2.0


class Progress:
    """Counts bytes that come on several threads, and says so every two seconds.

    Args:
        what: begins each line, e.g. ``kafka``.
        total: bytes that are to come.
        say: called with a line such as ``kafka: 12.3 of 54.1 MB, 9 s left``.
        clock: returns seconds.
    """

    def __init__(
        self,
        what: str,
        total: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._say, self._clock = what, total, say, clock
        self._got = 0
        self._begun_s = self._told_s = clock()
        self._lock = threading.Lock()

    def add(self, more: int) -> None:
        """Count bytes that have come; of what is fetched again, they are taken back."""
        with self._lock:
            self._got += more
            now_s = self._clock()
            if now_s - self._told_s < _EVERY_S or self._got <= 0:
                return
            self._told_s = now_s
            self._say(self._line(now_s - self._begun_s))

    def _line(self, took_s: float) -> str:
        return f"{self._what}: {amount(self._got, self._total, took_s)}"


def amount(got: int, total: int | None, took_s: float) -> str:
    """Return e.g. ``12.3 of 54.1 MB, 9 s left``; ``12.3 MB after 4 s`` where no total is known."""
    if not total:
        return f"{got / 1e6:.1f} MB after {took_s:.0f} s"
    of = f"{got / 1e6:.1f} of {total / 1e6:.1f} MB"
    left_s = max(0, total - got) * took_s / got if got else None
    return of if left_s is None else f"{of}, {left_s:.0f} s left"


def counted(come: int, total: int, noun: str, size: int, took_s: float) -> str:
    """Return e.g. ``12 of 34 modules, 3.1 MB, 4 s left``, where only their number is known."""
    left = f", {took_s * max(0, total - come) / come:.0f} s left" if come else ""
    return f"{come} of {total} {noun}, {size / 1e6:.1f} MB{left}"


@contextmanager
def told(
    line: Callable[[float], str], say: Callable[[str], None], every_s: float = _EVERY_S
) -> Iterator[None]:
    """While something else takes its time, say now and then how far it has come.

    Args:
        line: returns what is to be said; it is given the seconds that have passed.
        say: is called on a thread of its own.
        every_s: seconds between two lines.
    """
    over = threading.Event()
    begin = time.monotonic()

    def tell() -> None:
        while not over.wait(every_s):
            say(line(time.monotonic() - begin))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def bytes_below(folder: Path, pattern: str = "*") -> int:
    """Return how many bytes the files below a folder have, which may come and go meanwhile."""
    return size_of(files_below(folder, pattern))


def size_of(files: Iterable[Path]) -> int:
    """Return how many bytes files have, which may be gone by now."""
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total
