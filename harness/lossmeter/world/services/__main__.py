"""Brings all servers into the cache, side by side: ``python -m lossmeter.world.services``.

A line per step goes to standard error. Exit code 0, or that of the first error.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from lossmeter.errors import ExitCode, HarnessError
from lossmeter.world.ownership import MARK, Owner
from lossmeter.world.service import Service
from lossmeter.world.services import discover


def main() -> int:
    """Install every server and return the exit code."""
    # What is started from here on is found by ``lossmeter recover`` if this process is killed.
    os.environ[MARK] = Owner.this_process("install").mark
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = _clocked()
    pool = ThreadPoolExecutor()
    try:
        futures = [pool.submit(_install, each, say) for each in discover().values()]
        errors = [error for error in map(_error, futures) if error is not None]
    except KeyboardInterrupt:
        say("interrupted; ending what is under way")
        return ExitCode.INTERRUPTED
    finally:
        # What is under way may end, so that no process and no half folder stays behind.
        pool.shutdown(cancel_futures=True)
    for error in errors:
        say(f"error: {error}")
    return errors[0].exit_code if errors else 0


def _install(service: Service, say: Callable[[str], None]) -> None:
    service.install(say)
    say(f"{service.name}: {service.version()} is installed")


def _error(future: Future[None]) -> HarnessError | None:
    try:
        future.result()
    except HarnessError as error:
        return error
    return None


def _clocked() -> Callable[[str], None]:
    """Return a function that prints a line with the seconds since now before it."""
    begin = time.monotonic()
    one_at_a_time = threading.Lock()

    def say(line: str) -> None:
        with one_at_a_time:
            sys.stderr.write(f"[{time.monotonic() - begin:5.1f} s] {line}\n")

    return say


if __name__ == "__main__":
    sys.exit(main())
