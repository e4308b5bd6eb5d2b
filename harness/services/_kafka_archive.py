"""Java's start-up archive for Kafka: what one start loaded and linked, kept for the next.

It halves the time of every start. Java itself checks that it fits and does without it
where it does not.
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
import time
from pathlib import Path

from harness.errors import CacheError
from harness.model import Address
from harness.ownership import inherited_mark
from harness.ports import LOOPBACK, free_port
from harness.service import ProcessSpec, Service, Slot

ARCHIVE = "kafka.aot"
_READY_S = 60.0
_END_S = 120.0


def train(kafka: Service, to: Path) -> None:
    """Start Kafka once in a scratch folder and have Java write the archive at its end.

    Raises:
        CacheError: Kafka did not start, or Java wrote nothing; says what was logged.
    """
    with tempfile.TemporaryDirectory(dir=to) as scratch:
        here = Address(LOOPBACK, free_port())
        slot = Slot(Path(scratch), here, here, secrets.token_urlsafe(18))
        log = Path(scratch) / "log"
        kafka.prepare(slot, lambda spec: _run(spec, log))
        spec = kafka.process(slot)
        java, *arguments = spec.argv
        command = (java, f"-XX:AOTCacheOutput={to / ARCHIVE}", *arguments)
        _start_and_stop(kafka, slot, ProcessSpec(command, spec.environment), log)
        if not (to / ARCHIVE).is_file():
            raise CacheError(f"kafka wrote no start-up archive at its end: {_end_of(log)}")


def _start_and_stop(kafka: Service, slot: Slot, spec: ProcessSpec, log: Path) -> None:
    with log.open("ab") as sink:
        process = subprocess.Popen(
            spec.argv,
            env=inherited_mark() | dict(spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_ready(kafka, slot, process, log)
        process.send_signal(spec.stop_signal)
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        raise CacheError(f"kafka did not end within {_END_S:g} s: {_end_of(log)}") from None
    finally:
        process.kill()
        process.wait()


def _wait_ready(kafka: Service, slot: Slot, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while not kafka.ready(slot):
        if process.poll() is not None:
            raise CacheError(
                f"kafka ended with exit code {process.returncode} when it was first started: "
                f"{_end_of(log)}"
            )
        if time.monotonic() > deadline:
            raise CacheError(f"kafka was not ready within {_READY_S:g} s: {_end_of(log)}")
        time.sleep(0.05)


def _run(spec: ProcessSpec, log: Path) -> None:
    with log.open("ab") as sink:
        done = subprocess.run(
            spec.argv,
            env=inherited_mark() | dict(spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise CacheError(
            f"kafka's data folder could not be formatted, exit code {done.returncode}: "
            f"{_end_of(log)}"
        )


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-5:]) or "it logged nothing"
