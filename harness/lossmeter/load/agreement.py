"""How load processes agree on who sends what, from when on, and when all is over.

Alone, a process gives itself the order. Otherwise Locust's master gives each worker a shard
and all of them one start, and ends the load when each has said that it is through, or is
gone; what one that is gone did not send shows in its journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import gevent
from gevent.event import AsyncResult, Event
from locust import events
from locust.env import Environment
from locust.event import EventHook
from locust.rpc import Message
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, WorkerRunner

from lossmeter.load.plan import FOLDER_VARIABLE, PLAN_VARIABLE, LoadPlan
from lossmeter.load.relay import Gathering
from lossmeter.record.clock import difference_ns

# Long enough for the order to reach every worker before it is to begin.
_ALONE_S, _HERE_S, _ELSEWHERE_S = 0.05, 0.5, 2.0
_LOOK_EVERY_S = 0.1
# By then a worker that was told that it is known has begun all that a quit ends.
_BEGUN_S = 0.5

# A worker hears from its master once a second. Locust waits a minute for one that was
# killed, and the load of a run that was broken off would go on for as long.
_SILENT_S = 5.0

_CLOCK_ASKED, _CLOCK_ANSWER_S = 8, 0.2
_BEGIN, _CLOCK, _THROUGH = "lossmeter-begin", "lossmeter-clock", "lossmeter-through"


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What one load process is given.

    Attributes:
        start_ns: when the schedule begins, by the master's clock.
        clock_ns: what to add to this machine's clock to have the master's.
    """

    plan: LoadPlan
    shard: int
    start_ns: int
    clock_ns: int = 0


def agree(environment: Environment, order: AsyncResult[LoadOrder]) -> None:
    """Have ``order`` set in each process that sends, once all of them are there."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        Master(runner, _plan()).prepare()
    elif isinstance(runner, WorkerRunner):
        Worker(runner, order).prepare()
    elif isinstance(runner, LocalRunner):
        plan = _plan()
        _on(events.test_start, lambda **_: order.set(LoadOrder(plan, 0, _soon_ns(_ALONE_S, plan))))
    else:
        raise RuntimeError("Locust runs no load here: start it with --headless")  # noqa: TRY004


def through(environment: Environment) -> None:
    """Tell that this process has an outcome for each event of its share."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.send_message(_THROUGH)
    elif runner is not None:
        runner.quit()


class Master:
    """The one that gives orders and sends nothing itself."""

    def __init__(self, runner: MasterRunner, plan: LoadPlan) -> None:
        self._runner, self._plan = runner, plan
        self._shards: dict[str, int] = {}
        self._waited_for: set[str] = set()

    def prepare(self) -> None:
        """Give the orders as soon as every worker has its user."""
        self._runner.register_message(_THROUGH, self._one_is_through)
        self._runner.register_message(_CLOCK, self._tell_time)
        self._listen = self._runner.handle_message
        # Locust takes in whoever comes, at any time, and would share its users out anew.
        self._runner.handle_message = self._hear  # type: ignore[method-assign]
        if self._plan.listen:
            Gathering(self._runner, Path(self._plan.folder), self._shards)
        _on(events.spawning_complete, self._begin)

    def _hear(self, client_id: str, msg: Message) -> None:
        """Take a message, but for that of a worker too many: it is sent home."""
        complete = bool(self._shards) or len(self._there()) >= self._plan.processes
        if msg.type != "client_ready" or client_id in self._runner.clients or not complete:
            self._listen(client_id, msg)
            return
        self._answer("ack", client_id)
        # Quit at once, Locust would begin the rest afterwards, and never end.
        gevent.spawn_later(_BEGUN_S, self._answer, "quit", client_id)

    def _answer(self, kind: str, client_id: str) -> None:
        answer = Message(kind, None, client_id)  # type: ignore[no-untyped-call]
        self._runner.server.send_to_client(answer)

    def _begin(self, **_: object) -> None:
        if self._shards:
            return
        start_ns = _soon_ns(_ELSEWHERE_S if self._plan.listen else _HERE_S, self._plan)
        clients = sorted(self._there())
        self._shards |= {client: shard for shard, client in enumerate(clients)}
        self._waited_for = set(clients)
        for client, shard in self._shards.items():
            reported = {"plan": asdict(self._plan), "shard": shard, "start_ns": start_ns}
            self._runner.send_message(_BEGIN, reported, client)
        gevent.spawn(self._end_when_all_are_through)

    def _tell_time(self, msg: Message, **_: object) -> None:
        self._runner.send_message(_CLOCK, msg.data | {"here_ns": time.time_ns()}, msg.node_id)

    def _one_is_through(self, msg: Message, **_: object) -> None:
        self._waited_for.discard(msg.node_id)

    def _end_when_all_are_through(self) -> None:
        while self._waited_for & self._there():
            gevent.sleep(_LOOK_EVERY_S)
        self._runner.quit()

    def _there(self) -> set[str]:
        return {client.id for client in self._runner.clients.all if client.state != STATE_MISSING}


class Worker:
    """One that sends; on a machine of its own if it was given a folder for its journal."""

    def __init__(self, runner: WorkerRunner, order: AsyncResult[LoadOrder]) -> None:
        self._runner, self._order = runner, order
        self._looks: list[tuple[int, int]] = []
        self._looked = Event()

    def prepare(self) -> None:
        """Pass the master's order on when it comes."""
        self._runner.register_message(_BEGIN, self._begin, concurrent=True)
        self._runner.register_message(_CLOCK, self._look_at_clock)
        gevent.spawn(self._end_without_master, os.getppid())

    def _begin(self, msg: Message, **_: object) -> None:
        plan = LoadPlan.of(msg.data["plan"])
        clock_ns = 0
        if folder := os.environ.get(FOLDER_VARIABLE):
            plan = replace(plan, folder=folder)
            clock_ns = self._ask_for_the_time()
        self._order.set(LoadOrder(plan, msg.data["shard"], msg.data["start_ns"], clock_ns))

    def _end_without_master(self, parent: int) -> None:
        """End when the master is gone, or those who started this process: nobody else would."""
        while os.getppid() == parent:
            heard_s = self._runner.last_heartbeat_timestamp
            if heard_s is not None and time.time() - heard_s > _SILENT_S:
                break
            gevent.sleep(_LOOK_EVERY_S)
        os._exit(75)

    def _ask_for_the_time(self) -> int:
        for _ in range(_CLOCK_ASKED):
            self._looked.clear()
            self._runner.send_message(_CLOCK, {"asked_ns": time.time_ns()})
            self._looked.wait(_CLOCK_ANSWER_S)
        return difference_ns(self._looks)

    def _look_at_clock(self, msg: Message, **_: object) -> None:
        asked_ns, answered_ns = msg.data["asked_ns"], time.time_ns()
        middle_ns = (asked_ns + answered_ns) // 2
        self._looks.append((answered_ns - asked_ns, msg.data["here_ns"] - middle_ns))
        self._looked.set()


def _plan() -> LoadPlan:
    return LoadPlan.load(Path(os.environ[PLAN_VARIABLE]))


def _on(hook: EventHook, listener: Callable[..., None]) -> None:
    hook.add_listener(listener)  # type: ignore[no-untyped-call]


def _soon_ns(seconds: float, plan: LoadPlan) -> int:
    lead_s = plan.feeder.lead_s if plan.feeder else 0.0
    return time.time_ns() + round((seconds + lead_s) * 1e9)
