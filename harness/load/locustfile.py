"""The load: Locust users that carry out an open schedule and journal every event.

Runs in a process of its own (``locust -f``), because importing Locust patches the process.
Locust's own statistics are a courtesy; the journal is what is judged.
"""

from __future__ import annotations

import os
import string
import time
from collections import deque
from pathlib import Path

import gevent
from gevent.event import AsyncResult
from locust import User, events, task
from locust.env import Environment
from locust.exception import StopUser

from harness.clock import ClockWatch
from harness.load.addresses import Addresses
from harness.load.answers import Reason, classify
from harness.load.connection import Connection
from harness.load.journal import JournalWriter
from harness.load.plan import PLAN_VARIABLE, LoadPlan
from harness.load.schedule import Due, payload, payload_hash, schedule

_ENDING = {"stopping", "stopped", "cleanup"}

PLAN = LoadPlan.load(Path(os.environ[PLAN_VARIABLE]))


class Clock:
    """Wall-clock nanoseconds that advance with the monotonic clock: they never jump."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self.watch = ClockWatch()

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return time.monotonic_ns() + self._offset_ns


class Crew:
    """Hands each due event to the connection that went idle last.

    Last in, first out keeps few connections busy while the target is fast, and lets the
    number grow by itself while it stalls; so the schedule is kept either way.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.start_ns = self.clock.now_ns() + 50_000_000
        journal = Path(PLAN.folder) / "journal-0.bin"
        self.journal = JournalWriter(journal, 0, PLAN.producers, PLAN.seed, self.start_ns)
        self._idle: list[AsyncResult[Due | None]] = []
        self._overdue: deque[Due] = deque()
        self._unfinished = 0
        self._over = False

    def next(self) -> Due | None:
        """Wait for the next event to send; None when the schedule is over."""
        if self._overdue:
            return self._overdue.popleft()
        if self._over:
            return None
        inbox: AsyncResult[Due | None] = AsyncResult()
        self._idle.append(inbox)
        return inbox.get()

    def finished(self) -> None:
        """Tell that one handed-out event has its outcome recorded."""
        self._unfinished -= 1

    def carry_out(self) -> None:
        """Hand out every event at its time, then wait until each has an outcome."""
        for due in schedule(PLAN.phases, PLAN.producers):
            self.clock.watch.look()
            wait_ns = self.start_ns + due.due_ns - self.clock.now_ns()
            if wait_ns > 0:
                gevent.sleep(wait_ns / 1e9)
            self._unfinished += 1
            if self._idle:
                self._idle.pop().set(due)
            else:
                self._overdue.append(due)
        while self._unfinished:
            gevent.sleep(0.01)
        self._over = True
        self.clock.watch.look()
        self.journal.end(self.clock.now_ns(), self.clock.watch.jump_ns)
        for inbox in self._idle:
            inbox.set(None)


CREW: list[Crew] = []
ADDRESSES = Addresses((PLAN.host, PLAN.port), Path(PLAN.in_service) if PLAN.in_service else None)


def begin(environment: Environment, **_: object) -> None:
    """Start the schedule once the users are there to carry it out."""
    gevent.spawn(_carry_out, environment).link_exception(_stop_at_once)


events.test_start.add_listener(begin)  # type: ignore[no-untyped-call]


def _carry_out(environment: Environment) -> None:
    runner = environment.runner
    if runner is None:
        raise RuntimeError("Locust runs no load here: start it with --headless")
    while runner.user_count < PLAN.max_in_flight:
        gevent.sleep(0.01)
    CREW.append(Crew())
    CREW[0].carry_out()
    runner.quit()


def _stop_at_once(_: gevent.Greenlet[..., None]) -> None:
    # An exception in a greenlet is only printed; a load that stopped sending must not
    # look like one that had nothing to send.
    os._exit(70)


class Producer(User):
    """One connection; sends what the crew hands it and journals before and after."""

    def on_start(self) -> None:
        """Prepare the parts of the request that do not change."""
        self.connections: dict[tuple[str, int], Connection] = {}
        self.body = _as_format(PLAN.body)
        self.head = (
            f"POST {PLAN.path} HTTP/1.1\r\nHost: {PLAN.host}:{PLAN.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()

    @task
    def produce(self) -> None:
        """Send events until the schedule, or the time that Locust was given, is over.

        One task for all: Locust's own loop between two tasks costs more than an event.
        """
        while not CREW:
            gevent.sleep(0.02)
        crew = CREW[0]
        while not self._is_over():
            due = crew.next()
            if due is None:
                raise StopUser
            try:
                self._send(crew, due)
            except OSError:
                # The journal cannot be written: what happens from here on would be invisible.
                os._exit(74)
            crew.finished()

    def _is_over(self) -> bool:
        runner = self.environment.runner
        return runner is None or runner.state in _ENDING

    def _send(self, crew: Crew, due: Due) -> None:
        text = payload(PLAN.seed, due.producer, due.sequence, PLAN.payload_bytes)
        request = self._request(due, text)
        sent_ns = crew.clock.now_ns()
        scheduled_ns = crew.start_ns + due.due_ns
        crew.journal.intent(due.producer, due.sequence, scheduled_ns, sent_ns, payload_hash(text))
        code = self._exchange(request)
        done_ns = crew.clock.now_ns()
        status = classify(code, PLAN.accepted, PLAN.refused)
        crew.journal.outcome(due.producer, due.sequence, done_ns, status, code)
        # Locust's statistics without its event hook, which nobody listens to here.
        stats = self.environment.stats
        stats.log_request("POST", PLAN.path, (done_ns - scheduled_ns) / 1e6, 0)
        if code not in PLAN.accepted:
            stats.log_error("POST", PLAN.path, f"answer {code}")

    def _exchange(self, request: bytes) -> int:
        """Send to the instance whose turn it is; where it refuses, to the next.

        A refused connection carried nothing, so asking another one cannot send it twice.
        """
        code = 0
        for address in ADDRESSES.in_turn():
            if address not in self.connections:
                self.connections[address] = Connection(*address, PLAN.timeout_s)
            code = self.connections[address].exchange(request)
            if code != Reason.CONNECTION_REFUSED:
                break
        return code

    def _request(self, due: Due, text: str) -> bytes:
        fields = {"producer": due.producer, "sequence": due.sequence, "payload": text}
        body = (self.body % fields).encode()
        return b"%s%d\r\n\r\n%s" % (self.head, len(body), body)


def _as_format(body: str) -> str:
    """Return the template in the form of ``%``, which is filled in a tenth of the time."""
    names = {name: f"%({name})s" for name in ("producer", "sequence", "payload")}
    return string.Template(body.replace("%", "%%")).substitute(names)
