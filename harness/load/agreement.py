"""How load processes agree on who sends what, from when on, and when all is over.

Alone, a process gives itself the order. Otherwise Locust's master gives each worker a shard
and all of them one start, and ends the load when each has said that it is through, or is
gone; what one that is gone did not send shows in its journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import gevent
from gevent.event import AsyncResult
from locust import events
from locust.env import Environment
from locust.event import EventHook
from locust.rpc import Message
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, WorkerRunner

# Long enough for the order to reach every worker before it is to begin.
_ALONE_S, _TOGETHER_S = 0.05, 0.5
_LOOK_EVERY_S = 0.1

_BEGIN, _THROUGH = "lossmeter-begin", "lossmeter-through"


@dataclass(frozen=True, slots=True)
class Order:
    """What one load process is told: its shard, and when the schedule begins."""

    shard: int
    start_ns: int


def agree(environment: Environment, order: AsyncResult[Order]) -> None:
    """Have ``order`` set in each process that sends, once all of them are there."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        Master(runner).prepare()
    elif isinstance(runner, WorkerRunner):
        runner.register_message(_BEGIN, lambda msg, **_: order.set(Order(**msg.data)))
        gevent.spawn(_end_with, os.getppid())
    elif isinstance(runner, LocalRunner):
        _on(events.test_start, lambda **_: order.set(Order(0, _soon_ns(_ALONE_S))))
    else:
        raise RuntimeError("Locust runs no load here: start it with --headless")  # noqa: TRY004


def through(environment: Environment) -> None:
    """Tell that this process has an outcome for each event that it sent."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.send_message(_THROUGH)
    elif runner is not None:
        runner.quit()


class Master:
    """The one that gives orders and sends nothing itself."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._waited_for: set[str] = set()

    def prepare(self) -> None:
        """Give the orders as soon as every worker has its user."""
        self._runner.register_message(_THROUGH, self._one_is_through)
        _on(events.spawning_complete, self._begin)

    def _begin(self, **_: object) -> None:
        if self._waited_for:
            return
        start_ns = _soon_ns(_TOGETHER_S)
        clients = sorted(client.id for client in self._runner.clients.all)
        self._waited_for = set(clients)
        for shard, client in enumerate(clients):
            self._runner.send_message(_BEGIN, asdict(Order(shard, start_ns)), client)
        gevent.spawn(self._end_when_all_are_through)

    def _one_is_through(self, msg: Message, **_: object) -> None:
        self._waited_for.discard(msg.node_id)

    def _end_when_all_are_through(self) -> None:
        while self._waited_for & self._there():
            gevent.sleep(_LOOK_EVERY_S)
        self._runner.quit()

    def _there(self) -> set[str]:
        return {client.id for client in self._runner.clients.all if client.state != STATE_MISSING}


def _on(hook: EventHook, listener: Callable[..., None]) -> None:
    hook.add_listener(listener)  # type: ignore[no-untyped-call]


def _soon_ns(seconds: float) -> int:
    return time.time_ns() + round(seconds * 1e9)


def _end_with(parent: int) -> None:
    """End when the process that forked this one was killed: nobody would end it later."""
    while os.getppid() == parent:
        gevent.sleep(_LOOK_EVERY_S)
    os._exit(75)
