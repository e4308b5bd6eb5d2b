"""Java's start-up archive for Kafka: what one start loaded and linked, kept for the next.

It halves the time of every start. Java itself checks that it fits and does without it
where it does not.
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from pathlib import Path

from lossmeter.errors import CacheError
from lossmeter.model import Address
from lossmeter.world.ports import LOOPBACK, free_port
from lossmeter.world.programs import last_lines, run, start
from lossmeter.world.service import ProcessSpec, Service, Slot
from lossmeter.world.waiting import wait_for

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
        kafka.prepare(slot, lambda spec: _format(spec, slot.folder))
        spec = kafka.process(slot)
        java, *arguments = spec.argv
        command = (java, f"-XX:AOTCacheOutput={ARCHIVE}", *arguments)
        _start_and_stop(kafka, slot, ProcessSpec(command, spec.environment), log)
        if not (slot.folder / ARCHIVE).is_file():
            raise CacheError(f"kafka wrote no start-up archive at its end: {last_lines(log)}")
        (slot.folder / ARCHIVE).rename(to / ARCHIVE)


def _start_and_stop(kafka: Service, slot: Slot, spec: ProcessSpec, log: Path) -> None:
    process = start(spec.argv, log, spec.environment, folder=slot.folder)
    try:
        _wait_ready(kafka, slot, process, log)
        process.send_signal(spec.stop_signal)
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        raise CacheError(f"kafka did not end within {_END_S:g} s: {last_lines(log)}") from None
    finally:
        process.kill()
        process.wait()


def _wait_ready(kafka: Service, slot: Slot, process: subprocess.Popen[bytes], log: Path) -> None:
    def ready() -> bool:
        if process.poll() is not None:
            raise CacheError(
                f"kafka ended with exit code {process.returncode} when it was first started: "
                f"{last_lines(log)}"
            )
        return kafka.ready(slot)

    if not wait_for(ready, _READY_S):
        raise CacheError(f"kafka was not ready within {_READY_S:g} s: {last_lines(log)}")


def _format(spec: ProcessSpec, folder: Path) -> None:
    ended = run(spec.argv, _READY_S, environment=spec.environment, folder=folder)
    ended.checked(CacheError, "kafka's data folder could not be formatted")
