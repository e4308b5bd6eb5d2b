"""The load: one Locust user in each load process, which carries out its share of a schedule.

Runs in a process of its own (``locust -f``), because importing Locust patches the process.
Locust brings the processes up, tells all of them when to begin, and ends them; its own
statistics are a courtesy, the journal is what is judged.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from contextlib import suppress

import gevent
from gevent.event import AsyncResult
from gevent.socket import wait_read
from locust import User, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import WorkerRunner

from lossmeter.load.acquainted import SECRET_VARIABLE, get_acquainted
from lossmeter.load.agreement import LoadOrder, agree, through
from lossmeter.load.carrier import Carrier, Clock
from lossmeter.load.courtesy import Courtesy
from lossmeter.load.relay import Relay
from lossmeter.load.unpatched import select

_ENDING = {"stopping", "stopped", "cleanup"}

# The system waits to a fraction of a millisecond, gevent to a whole one: so the end of each
# wait is the system's. Meanwhile nothing else of this process runs, so it is short.
_EXACTLY_S = 0.001
_OTHERS_RUN_EVERY_S = 0.02

ORDER: AsyncResult[LoadOrder] = AsyncResult()


def prepare(environment: Environment, **_: object) -> None:
    """Agree with the other load processes, and end in order on Ctrl-C."""
    # Python raises KeyboardInterrupt wherever it is, so in the midst of an event.
    gevent.signal_handler(signal.SIGINT, os.kill, os.getpid(), signal.SIGTERM)
    agree(environment, ORDER)


get_acquainted(os.environ[SECRET_VARIABLE])
events.init.add_listener(prepare)  # type: ignore[no-untyped-call]


class Producer(User):
    """Sends this process's events over as many connections as it takes.

    One user for all: a greenlet for each event in flight, and Locust's own loop between two
    tasks, cost more than an event.
    """

    @task
    def produce(self) -> None:
        """Carry out the share of the schedule, once."""
        try:
            order = ORDER.get()
            if order is not None:
                self._carry_out(order)
        except OSError:
            # The journal cannot be written, or passed on: what happens from here on would
            # be invisible.
            traceback.print_exc()
            os._exit(os.EX_IOERR)
        except Exception:  # noqa: BLE001 - Locust would log it and begin again
            # A load that stopped sending must not look like one that had nothing to send.
            traceback.print_exc()
            os._exit(70)
        raise StopUser

    def _carry_out(self, order: LoadOrder) -> None:
        carrier = Carrier(order.plan, order.shard, Clock(order.clock_ns), order.start_ns)
        beside: list[Courtesy | Relay] = [Courtesy(self.environment, order.plan.path, carrier)]
        runner = self.environment.runner
        if order.plan.listen and isinstance(runner, WorkerRunner):
            beside.append(Relay(runner, carrier.journal_path))
        keeping_up = [gevent.spawn(each.keep_up) for each in beside]
        whole = carrier.carry_out(_wait, Turn(self.environment).goes_on)
        gevent.killall(keeping_up)
        for each in beside:
            each.pass_on()
        if whole:
            through(self.environment)


class Turn:
    """Asked before each turn of the load whether to go on; lets others have theirs."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._others_ran_s = time.monotonic()

    def goes_on(self) -> bool:
        """Return False when Locust ends the load."""
        if time.monotonic() - self._others_ran_s > _OTHERS_RUN_EVERY_S:
            gevent.sleep(0)
            self._others_ran_s = time.monotonic()
        runner = self._environment.runner
        return runner is not None and runner.state not in _ENDING


def _wait(fd: int, seconds: float) -> None:
    ready, _, _ = select([fd], [], [], min(seconds, _EXACTLY_S))
    if not ready and seconds > 2 * _EXACTLY_S:
        with suppress(TimeoutError):
            wait_read(fd, timeout=seconds - 2 * _EXACTLY_S)
