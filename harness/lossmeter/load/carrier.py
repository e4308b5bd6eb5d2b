"""Carries out an open schedule: sends each event at its time, journals before and after.

Knows neither Locust nor greenlets: how to wait, and whether to go on, it is given.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lossmeter.load.connection import LOOK_EVERY_NS
from lossmeter.load.journal import JournalWriter
from lossmeter.load.pipe import PipeSender
from lossmeter.load.plan import LoadPlan
from lossmeter.load.schedule import Due, schedule
from lossmeter.load.sender import HttpSender, Sender
from lossmeter.model import Status
from lossmeter.record.answers import classify
from lossmeter.record.clock import ClockWatch

# Answers are looked for at least after so many events, however far the load is behind.
_SENT_AT_ONCE = 32

# A number no answer has: HTTP's have three digits.
_CODES = 1000


class Clock:
    """Wall-clock nanoseconds that advance with the monotonic clock: they never jump.

    Args:
        ahead_ns: how far the clock to go by is ahead of this machine's.

    Attributes:
        offset_ns: what to add to monotonic nanoseconds.
    """

    def __init__(self, ahead_ns: int = 0) -> None:
        self.offset_ns = time.time_ns() - time.monotonic_ns() + ahead_ns
        self.watch = ClockWatch()

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return time.monotonic_ns() + self.offset_ns


class Carrier:
    """One load process's share of the schedule, on its way.

    Args:
        plan: what to send and where to.
        shard: which of the plan's load processes this is.
        clock: dates everything.
        start_ns: when the schedule begins, by that clock.

    Attributes:
        latencies_ns: from the scheduled time to the outcome, of each event that got one
            since this was emptied last.
        not_accepted: how often each answer that is no ack came, since then.
        journal_path: where the journal lies.
    """

    def __init__(self, plan: LoadPlan, shard: int, clock: Clock, start_ns: int) -> None:
        self.latencies_ns: list[int] = []
        self.not_accepted: Counter[int] = Counter()
        self._clock, self._start_ns = clock, start_ns
        self._offset_ns = clock.offset_ns
        # The others send their share at the same time.
        self._most = -(-plan.max_in_flight // plan.processes)
        self._schedule = schedule(plan.phases, plan.producers, shard, plan.processes)
        self._status = [classify(code, plan.accepted, plan.refused) for code in range(_CODES)]
        self._sender: Sender = (
            PipeSender(plan, shard, self._outcome)
            if plan.feeder
            else HttpSender(plan, self._outcome)
        )
        self.journal_path = Path(plan.folder) / f"journal-{shard}.bin"
        self._journal = JournalWriter(
            self.journal_path, shard, plan.producers, plan.seed, start_ns, plan.processes
        )

    def carry_out(self, wait: Callable[[int, float], None], going_on: Callable[[], bool]) -> bool:
        """Send every event at its time, then wait until each has an outcome.

        Returns:
            Whether all were sent; only then is the journal closed as whole.

        Raises:
            OSError: the journal cannot be written.
        """
        whole = self._send_all(wait, going_on)
        while self._sender.in_flight:
            self._sender.poll()
            wait(self._sender.fileno(), LOOK_EVERY_NS / 1e9)
        # What still comes as it closes is recorded, too.
        self._sender.close()
        self._clock.watch.look()
        if whole:
            self._journal.end(self._clock.now_ns(), self._clock.watch.jump_ns)
        self._journal.close()
        return whole

    def _send_all(self, wait: Callable[[int, float], None], going_on: Callable[[], bool]) -> bool:
        sender, watch = self._sender, self._clock.watch
        begin_ns = self._start_ns - self._offset_ns
        looked_ns = 0
        due = next(self._schedule, None)
        while due is not None:
            if not going_on():
                return False
            sender.poll()
            now_ns = time.monotonic_ns()
            if now_ns - looked_ns > LOOK_EVERY_NS:
                looked_ns = now_ns
                watch.look()
            room = min(self._most - sender.in_flight, _SENT_AT_ONCE)
            while due is not None and room > 0 and begin_ns + due.due_ns <= now_ns:
                self._send(due)
                due = next(self._schedule, None)
                room -= 1
            if due is not None:
                idle_ns = begin_ns + due.due_ns - time.monotonic_ns()
                if sender.in_flight >= self._most:
                    idle_ns = LOOK_EVERY_NS
                if idle_ns > 0:
                    wait(sender.fileno(), min(idle_ns, LOOK_EVERY_NS) / 1e9)
        return True

    def _send(self, due: Due) -> None:
        message, payload_hash = self._sender.message(due)
        # Read before the send: no event is dated later than it was on the wire.
        now_ns = time.monotonic_ns()
        self._journal.intent(
            due.producer,
            due.sequence,
            self._start_ns + due.due_ns,
            now_ns + self._offset_ns,
            payload_hash,
        )
        self._sender.send(due, message, now_ns)

    def _outcome(self, due: Due, code: int, at_ns: int) -> None:
        done_ns = at_ns + self._offset_ns
        self._journal.outcome(due.producer, due.sequence, done_ns, self._status[code], code)
        self.latencies_ns.append(done_ns - self._start_ns - due.due_ns)
        if self._status[code] is not Status.ACKED:
            self.not_accepted[code] += 1
