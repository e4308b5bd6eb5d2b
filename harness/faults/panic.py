"""The target meets an error that nobody handles and aborts; then it is started again.

Parameters:
    path: where the target is asked for it by POST; default ``/panic``.
"""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException

from harness.errors import FaultError
from harness.faults._lives import (
    Before,
    actions,
    capable,
    ended,
    gap,
    new_boot,
    new_life,
    recorded,
    seen_again,
)
from harness.model import Evidence
from harness.site import Ending, Exit, Site

NAME = "panic"
ENDS_WITHIN_S = 10.0
ANSWER_S = 5.0

# What the run-times of the usual languages write when they give up.
LAST_WORDS = ("Traceback (most", "panic: ", "panicked at", "terminate called", "Exception in thr")


class Panic:
    """Asks the target to abort.

    Evidence: an exit code that is an error and no signal from outside, the last words in
    the target's log, an engine's record without a kill, the kernel's process start time, the
    gap in the health probe, and the target's own name for its life.
    """

    needs: tuple[type, ...] = (Ending,)

    def __init__(self, path: str) -> None:
        self._path = path
        self._before: Before | None = None
        self._exit: Exit | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Ask for it and wait for the end of the process."""
        target = capable(site, Ending, NAME)
        words = _last_words(site)
        self._before = Before.look(target, site.probe.samples())
        _ask(site.base_url + self._path)
        self._exit = target.wait_exit(ENDS_WITHIN_S)
        if self._exit is None:
            raise FaultError(f"the target still ran {ENDS_WITHIN_S:g} s after POST {self._path}")
        own = self._exit.signal in {None, signal.SIGABRT, signal.SIGSEGV}
        claim = "the process ended with an error of its own"
        return [
            ended(self._before, self._exit, claim, own and self._exit.code != 0),
            _spoken(_last_words(site) - words),
            *recorded(
                site,
                self._before.at_ns,
                "the engine saw it end, and had sent no signal",
                lambda seen: (
                    any(action.startswith("die ") for action in actions(seen))
                    and not any(action.startswith("kill") for action in actions(seen))
                ),
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Start it again, and compare its new life with the old one."""
        if self._before is None or self._exit is None:
            return []
        after = capable(site, Ending, NAME).start()
        again = seen_again(site)
        return [
            new_life(self._before, after),
            gap(site, self._exit.at_ns, again),
            *new_boot(self._before, again),
        ]


def _ask(url: str) -> None:
    request = urllib.request.Request(url, method="POST", data=b"")  # noqa: S310 - a base URL
    try:
        urllib.request.urlopen(request, timeout=ANSWER_S).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        raise FaultError(f"POST {url} was answered with {error.code} instead of an end") from None
    except (OSError, HTTPException):
        # No wonder: it may abort before it answers.
        return


def _last_words(site: Site) -> int:
    log = site.folder / "logs" / "target.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return sum(text.count(words) for words in LAST_WORDS)


def _spoken(count: int) -> Evidence:
    claim = "its log ends with an error that nobody handled"
    return Evidence("target-log", claim, f"{count} more than before", count > 0, time.time_ns())


def build(parameters: Mapping[str, str | int | float]) -> Panic:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or is no path.
    """
    path = parameters.get("path", "/panic")
    if set(parameters) - {"path"} or not isinstance(path, str) or not path.startswith("/"):
        raise FaultError("panic takes path, where the target is asked for it, e.g. '/panic'")
    return Panic(path)
