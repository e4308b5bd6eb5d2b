"""A second interrupt ends the program soon, whatever it hangs in."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lossmeter.commands._interrupts import PATIENCE_S

# Held back, as while a fault is healed, and in a call that no interrupt ends.
HANGING = """
import time
from lossmeter.commands._interrupts import one_interrupt
from lossmeter.world.interrupts import held_back
with one_interrupt(), held_back():
    print("ready", flush=True)
    while True:
        time.sleep(60)
"""


def test_a_second_interrupt_ends_what_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path))
    program = subprocess.Popen(
        [sys.executable, "-c", HANGING], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    program.send_signal(signal.SIGINT)
    time.sleep(1)
    assert program.poll() is None
    begin = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=30)
    assert PATIENCE_S <= time.monotonic() - begin < 10
    assert program.returncode == 2
    assert b"interrupted twice, and still not done: given up" in said
    assert b"Traceback" not in said


# Over, while what Python does at its end takes a while: first its threads, then its modules.
ENDING = """
import sys, threading, time
from lossmeter.commands._interrupts import ending, one_interrupt

class Slow:
    def __del__(self):
        print("modules", flush=True)
        time.sleep(0.5)

with one_interrupt(last=True):
    pass
if sys.argv[1] == "threads":
    threading.Thread(target=time.sleep, args=(5,)).start()
    print("threads", flush=True)
slow = Slow()
ending(7)
sys.exit(7)
"""


@pytest.mark.parametrize("moment", ["threads", "modules"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_at_the_very_end_changes_no_exit_code(
    moment: str, number: signal.Signals
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", ENDING, moment], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.readline() == f"{moment}\n".encode()
    begin = time.monotonic()
    # Its threads may hang; whoever interrupts them is not kept waiting.
    time.sleep(0.2)
    program.send_signal(number)
    _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (7, b"")
    assert time.monotonic() - begin < 3
