"""Hands events to an ingress program, a line each, and takes its answers.

The program is somebody else's and may do anything: end, hang, answer twice, answer what it
was never given. What an answer proves is decided here: an event has the outcome that its own
line names, and an event without a line is unknown.

The protocol, one line a message, UTF-8:

- the program says ``ready`` once it can take events;
- each event is a JSON object ``{"id": "3-17", "producer": 3, "sequence": 17, "payload": "…"}``;
- the answer is ``ok ID``, ``refused ID`` or ``unknown ID``, in any order, with a reason after
  the id if it likes; refused means that the event provably had no effect;
- when its input ends, the program answers what is open and ends.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from select import EPOLLIN, EPOLLOUT
from subprocess import PIPE, Popen

from lossmeter.load.connection import LOOK_EVERY_NS
from lossmeter.load.plan import ENVIRONMENT_VARIABLE, Feeder, LoadPlan
from lossmeter.load.schedule import Due, payload
from lossmeter.load.sender import Report
from lossmeter.load.unpatched import Epoll
from lossmeter.record.answers import Reason
from lossmeter.record.payloads import payload_hash
from lossmeter.world.ownership import MARK

_READ_BYTES = 1 << 16
_END_WITHIN_S = 2.0
# A line without an end must not fill the memory.
_LONGEST_LINE = 1 << 16
_ANSWER = re.compile(rb"(ok|refused|unknown) (\d{1,10})-(\d{1,19})(?: .*)?")
_CODES = {
    b"ok": Reason.CONFIRMED,
    b"refused": Reason.REJECTED,
    b"unknown": Reason.UNCONFIRMED,
}


class PipeSender:
    """Runs one ingress program for a load process.

    Attributes:
        strange: lines that are no answer, or answer an event that was never handed over.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(self, plan: LoadPlan, shard: int, report: Report) -> None:
        if plan.feeder is None:
            raise ValueError("the plan names no ingress program")
        self.strange = 0
        self._plan = plan
        self._report = report
        self._timeout_ns = round(plan.timeout_s * 1e9)
        self._open: dict[tuple[int, int], tuple[Due, int]] = {}
        self._highest: dict[int, int] = {}
        self._unsent = bytearray()
        self._line = bytearray()
        self._due: deque[tuple[int, tuple[int, int]]] = deque()
        self._ended = False
        log = Path(plan.folder) / "logs" / f"ingress-{shard}.log"
        self._popen = start(plan.feeder, _environment(), log)
        if self._popen.stdin is None or self._popen.stdout is None:
            raise OSError(errno.EPIPE, "the ingress program has no pipes")
        self._stdin, self._stdout = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        for fd in (self._stdin, self._stdout):
            os.set_blocking(fd, False)
        self._epoll = Epoll()
        self._epoll.register(self._stdout, EPOLLIN)

    @property
    def in_flight(self) -> int:
        """Return how many events have no outcome yet."""
        return len(self._open)

    def message(self, due: Due) -> tuple[bytes, int]:
        """Return the line of an event, and the hash of its payload."""
        text = payload(self._plan.seed, due.producer, due.sequence, self._plan.payload_bytes)
        event = {
            "id": f"{due.producer}-{due.sequence}",
            "producer": due.producer,
            "sequence": due.sequence,
            "payload": text,
        }
        return json.dumps(event).encode() + b"\n", payload_hash(text)

    def send(self, due: Due, message: bytes, now_ns: int) -> None:
        """Hand one event over."""
        key = (due.producer, due.sequence)
        deadline_ns = now_ns + self._timeout_ns
        self._open[key] = due, deadline_ns
        self._highest[due.producer] = due.sequence
        self._due.append((deadline_ns, key))
        if self._ended:
            self._outcome(key, Reason.INGRESS_ENDED)
            return
        self._unsent += message
        self._write()

    def poll(self) -> None:
        """Take in the answers that have come, and look for events that wait for too long."""
        for fd, event in self._epoll.poll(0):
            if fd == self._stdin:
                self._write()
            elif event:
                self._read()
        now_ns = time.monotonic_ns()
        while self._due and self._due[0][0] <= now_ns:
            _, key = self._due.popleft()
            if key in self._open:
                self._outcome(key, Reason.TIMED_OUT)

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``poll`` has something to do."""
        return self._epoll.fileno()

    def close(self) -> None:
        """End the program: by the end of its input, or by SIGKILL if it does not take it.

        What it still answers before it ends is reported.
        """
        if self._popen.stdin is not None:
            with suppress(OSError):
                self._popen.stdin.close()
        deadline = time.monotonic() + _END_WITHIN_S
        while not self._ended and time.monotonic() < deadline:
            self._read()
            time.sleep(LOOK_EVERY_NS / 1e9)
        self._epoll.close()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        while self._popen.poll() is None:
            if time.monotonic() > deadline:
                # With whatever it started: a shell, `go run`.
                with suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGKILL)
                self._popen.wait()
                return
            time.sleep(LOOK_EVERY_NS / 1e9)

    def _write(self) -> None:
        """Write what the pipe has room for; the rest goes as soon as it has."""
        try:
            sent = os.write(self._stdin, self._unsent) if self._unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            # It reads no more; what it was given before may still be answered.
            self._unsent.clear()
            return
        del self._unsent[:sent]
        try:
            if self._unsent:
                self._epoll.register(self._stdin, EPOLLOUT)
            else:
                self._epoll.unregister(self._stdin)
        except (FileExistsError, FileNotFoundError):
            # It is watched already, or was not.
            return

    def _read(self) -> None:
        try:
            data = os.read(self._stdout, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._ended = True
            with suppress(OSError):
                self._epoll.unregister(self._stdout)
            for key in list(self._open):
                self._outcome(key, Reason.INGRESS_ENDED)
            return
        self._line += data
        *lines, rest = self._line.split(b"\n")
        self._line = rest if len(rest) < _LONGEST_LINE else bytearray()
        for line in lines:
            self._answered(bytes(line).rstrip(b"\r"))

    def _answered(self, line: bytes) -> None:
        answer = _ANSWER.fullmatch(line)
        if answer is None:
            self.strange += line != b"ready"
            return
        key = int(answer[2]), int(answer[3])
        if key in self._open:
            self._outcome(key, _CODES[answer[1]])
        elif key[1] <= self._highest.get(key[0], -1):
            # Late, or once more: recorded beside the first, for the ledger to weigh.
            self._report(Due(*key, 0), _CODES[answer[1]], time.monotonic_ns())
        else:
            self.strange += 1

    def _outcome(self, key: tuple[int, int], code: Reason) -> None:
        due, _ = self._open.pop(key)
        self._report(due, code, time.monotonic_ns())


def start(feeder: Feeder, environment: Mapping[str, str], log: Path) -> Popen[bytes]:
    """Start an ingress program; what it writes to its error output goes to its log.

    Raises:
        OSError: it cannot be started.
    """
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as file:
        return Popen(
            feeder.argv,
            stdin=PIPE,
            stdout=PIPE,
            stderr=file,
            cwd=feeder.folder or None,
            env=environment,
            bufsize=0,
            process_group=0,
        )


def _environment() -> dict[str, str]:
    """Return what the harness has for the program, and the mark that all its processes carry."""
    given: dict[str, str] = json.loads(os.environ.get(ENVIRONMENT_VARIABLE, "{}"))
    return given | {name: os.environ[name] for name in (MARK,) if name in os.environ}
