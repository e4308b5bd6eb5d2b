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
from pathlib import Path

import gevent
from gevent.event import AsyncResult
from gevent.socket import wait_read
from locust import User, events, task
from locust.env import Environment
from locust.exception import StopUser

from harness.load.agreement import Order, agree, through
from harness.load.carrier import Carrier, Clock
from harness.load.courtesy import Courtesy
from harness.load.plan import PLAN_VARIABLE, LoadPlan
from harness.load.unpatched import select

_ENDING = {"stopping", "stopped", "cleanup"}

# The system waits to a fraction of a millisecond, gevent to a whole one: so the end of each
# wait is the system's. Meanwhile nothing else of this process runs, so it is short.
_EXACTLY_S = 0.001
_OTHERS_RUN_EVERY_S = 0.02

PLAN = LoadPlan.load(Path(os.environ[PLAN_VARIABLE]))
ORDER: AsyncResult[Order] = AsyncResult()


def prepare(environment: Environment, **_: object) -> None:
    """Agree with the other load processes, and end in order on Ctrl-C."""
    # Python raises KeyboardInterrupt wherever it is, so in the midst of an event.
    gevent.signal_handler(signal.SIGINT, os.kill, os.getpid(), signal.SIGTERM)
    agree(environment, ORDER)


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
            # The journal cannot be written: what happens from here on would be invisible.
            traceback.print_exc()
            os._exit(74)
        except Exception:  # noqa: BLE001 - Locust would log it and begin again
            # A load that stopped sending must not look like one that had nothing to send.
            traceback.print_exc()
            os._exit(70)
        raise StopUser

    def _carry_out(self, order: Order) -> None:
        carrier = Carrier(PLAN, order.shard, Clock(), order.start_ns)
        courtesy = Courtesy(self.environment, PLAN.path, carrier)
        keeping_up = gevent.spawn(courtesy.keep_up)
        ran_s = time.monotonic()

        def going_on() -> bool:
            nonlocal ran_s
            if time.monotonic() - ran_s > _OTHERS_RUN_EVERY_S:
                gevent.sleep(0)
                ran_s = time.monotonic()
            runner = self.environment.runner
            return runner is not None and runner.state not in _ENDING

        whole = carrier.carry_out(_wait, going_on)
        keeping_up.kill()
        courtesy.pass_on()
        if whole:
            through(self.environment)


def _wait(fd: int, seconds: float) -> None:
    ready, _, _ = select([fd], [], [], min(seconds, _EXACTLY_S))
    if not ready and seconds > 2 * _EXACTLY_S:
        with suppress(TimeoutError):
            wait_read(fd, timeout=seconds - 2 * _EXACTLY_S)
