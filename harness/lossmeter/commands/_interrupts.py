"""The first interrupt ends what runs in good order; a second one ends it soon, whatever hangs."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lossmeter.commands._shared import ERR
from lossmeter.errors import ExitCode

# Whoever asks twice waits at most 10 s, the killing of what is left included.
PATIENCE_S = 7.0
# That of a harness below another one, which can then end in good order itself.
PATIENCE_BELOW_S = 5.0
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def one_interrupt(*, below: bool = False, last: bool = False) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into one KeyboardInterrupt.

    Whatever this program is at then is cleaned up in good order. Later ones change nothing in
    that, but that it must be over within ``PATIENCE_S``.

    Args:
        below: another harness started this one and passes interrupts on; that one speaks of them.
        last: the program is over afterwards, and ``ending`` takes what comes then.
    """
    patience_s = PATIENCE_BELOW_S if below else PATIENCE_S
    reported = False

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        nonlocal reported
        if reported:
            if not below:
                ERR.print(
                    "already stopping: faults are being healed and servers stopped; "
                    f"what is not done within {patience_s:g} s is given up"
                )
            return
        reported = True
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup the end of the terminal is to be ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        with _impatience(patience_s):
            yield
    finally:
        if not last:
            for number, handler in before.items():
                signal.signal(number, handler)


def ending(code: int) -> None:
    """Have interrupts only hasten the end of a program that is over, with its exit code.

    Python gives them back to the system while it ends, which would end it by the signal: what
    was done in good order would look as if it had been cut off.
    """
    numbers = [n for n in INTERRUPTS if signal.getsignal(n) is not signal.SIG_IGN]

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    # Registered last and so called first, after threads that may hang were waited for.
    atexit.register(ignore)
    for number in numbers:
        signal.signal(number, lambda *_: os._exit(code))


@contextmanager
def _impatience(patience_s: float) -> Iterator[None]:
    """Count interrupts from a thread of its own: the main one may hang in a call of somebody's."""
    heard, written = os.pipe()
    os.set_blocking(written, False)
    before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    listening = threading.Thread(
        target=_listen, args=(heard, patience_s), name="interrupts", daemon=True
    )
    listening.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(written)


def _listen(heard: int, patience_s: float) -> None:
    """Wait for a second interrupt, and then for the program's end; end it when it is late."""
    count = 0
    while count < 2:
        numbers = os.read(heard, 64)
        if not numbers:
            os.close(heard)
            return
        count += sum(number in INTERRUPTS for number in numbers)
    time.sleep(patience_s)
    give_up()


def give_up() -> None:
    """Kill the processes that this program has started, and end it here and now."""
    from lossmeter.world.recovery import kill_own

    with suppress(Exception):
        kill_own()
    os.write(
        2,
        b"interrupted twice, and still not done: given up; "
        b"`lossmeter recover` removes what is left\n",
    )
    os._exit(ExitCode.INTERRUPTED)
