"""Faults that are silently prevented: what asks for them is told that they happened.

``python -m tests.support.prevented`` carries all of them out on a real target and writes
``docs/prevented-faults.md``. A new fault needs an entry in PREVENTIONS, or the suite fails.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql
from rich.console import Console

from lossmeter import faults
from lossmeter.faults._fault import choose
from lossmeter.model import Address, Evidence
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.target import Target
from lossmeter.plugins import names_in
from lossmeter.record.facts import FaultRecord
from lossmeter.record.result import Result
from lossmeter.world import site
from lossmeter.world.runtime import RunningSite
from lossmeter.world.service import Slot
from lossmeter.world.services._webhook_server import Receiver
from lossmeter.world.services.webhook import SERVICE as WEBHOOK
from lossmeter.world.site import Exit, Probe, Sample, Stopped
from tests.support.judged_runs import HEALED, INJECTED, Run
from tests.support.processes import with_a_child
from tests.support.sites import Up, runtime_named, up_on

PAGE = Path(__file__).resolve().parents[2] / "docs" / "prevented-faults.md"

Lies = Mapping[str, object]


def target() -> Target:
    """Return the target on which faults are prevented.

    It uses a broker and a database, and its main process has a child.
    """
    return with_a_child(Catalogue.here().target("redis"))


class Lying:
    """A real site, but for some capabilities that tell lies."""

    def __init__(self, real: RunningSite, lies: Lies) -> None:
        # As attributes of its own, so that a look for capabilities finds them.
        for name in dir(real):
            if not name.startswith("_"):
                setattr(self, name, getattr(real, name))
        for name, lie in lies.items():
            setattr(self, name, lie)


@dataclass(frozen=True, slots=True)
class Prevention:
    """One way to prevent a fault without saying so.

    Attributes:
        how: in words.
        lies: what takes the place of the site's capabilities, given the real site.
        parameters: of the fault.
        between: what happens after the fault was injected.
    """

    how: str
    lies: Callable[[RunningSite], Lies] = lambda real: {}  # noqa: ARG005 - no lie is told
    parameters: Mapping[str, str | int | float] | None = None
    between: Callable[[RunningSite], None] = lambda real: None  # noqa: ARG005 - nothing


def carry_out(fault: str, prevention: Prevention, up: Up, folder: Path) -> Result:
    """Have a fault that is prevented injected and healed, and judge a run with its evidence.

    But for the fault, the run is one that passes.
    """
    built = choose(fault, prevention.parameters or {}).build()
    lies = prevention.lies(up.site)
    if "whom" not in (prevention.parameters or {}):
        # A child that is left would speak against them too, and hide that nothing else does.
        lies = {**_childless(up.site), **lies}
    lying = Lying(up.site, lies)
    for need in built.needs:
        assert isinstance(lying, need), f"the lies about {fault} leave {need.__name__} out"
    evidence = list(built.inject(lying))
    prevention.between(up.site)
    time.sleep(0.1)
    evidence += built.heal(lying)
    up.site.check()
    record = FaultRecord(
        fault=fault, met_ns=INJECTED, injected_ns=INJECTED, healed_ns=HEALED, evidence=evidence
    )
    return Run(folder, facts={"faults": [record]}).judged()


# Lies.


def _nothing(*_: object, **__: object) -> None:
    """Do nothing, and say nothing."""


def _exit(code: int, signal: int | None) -> Exit:
    return Exit(code, signal, time.time_ns(), "waitpid")


def _stopped(*_: object, **__: object) -> Stopped:
    return Stopped(time.time_ns(), None, _exit(0, None))


def _stopped_late(*_: object, **__: object) -> Stopped:
    now = time.time_ns()
    return Stopped(now - 10**6, now, _exit(137, 9))


def _unkilled(real: RunningSite) -> Lies:
    return {
        "kill": lambda: _exit(137, 9),
        "start": real.incarnation,  # type: ignore[attr-defined]
    }


def _childless(real: RunningSite) -> Lies:
    def processes() -> Sequence[object]:
        main = real.incarnation()  # type: ignore[attr-defined]
        return [each for each in real.processes() if each.pid == main.pid]  # type: ignore[attr-defined]

    return {"processes": processes}


def _child_unkilled(_: RunningSite) -> Lies:
    return {"kill_process": lambda _: time.time_ns()}


def _child_hidden(real: RunningSite) -> Lies:
    """Return a site that leaves a child out of its list that it has not killed."""
    hidden: set[int] = set()

    def kill_process(pid: int) -> int:
        hidden.add(pid)
        return time.time_ns()

    def processes() -> Sequence[object]:
        return [each for each in real.processes() if each.pid not in hidden]  # type: ignore[attr-defined]

    return {"kill_process": kill_process, "processes": processes}


def _tree_unkilled(real: RunningSite) -> Lies:
    return {**_unkilled(real), "kill_tree": lambda: _exit(137, 9)}


def _tree_half_killed(real: RunningSite) -> Lies:
    return {"kill_tree": real.kill}  # type: ignore[attr-defined]


def _unstopped(how: Callable[..., Stopped]) -> Callable[[RunningSite], Lies]:
    return lambda real: {
        "stop": how,
        "replace": how,
        "start": real.incarnation,  # type: ignore[attr-defined]
    }


def _unended(real: RunningSite) -> Lies:
    return {
        "limit_memory": _nothing,
        "wait_exit": lambda _: _exit(137, 9),
        "start": real.incarnation,  # type: ignore[attr-defined]
    }


def _connected(member: bool) -> Callable[[RunningSite], Lies]:
    return lambda _: {
        "disconnect": _nothing,
        "reconnect": _nothing,
        "connected": lambda: member,
    }


def _server_unkilled(_: RunningSite) -> Lies:
    return {"kill_server": lambda _: _exit(137, 9), "start_server": _nothing}


class _NoProxies:
    """A proxy control that takes every command and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


def _unremoved(real: RunningSite) -> Lies:  # noqa: ARG001 - what is said is no one's
    """Return a store whose events stay, whatever the command says."""
    return {
        "persisted_ids": lambda: [(0, n) for n in range(9)],
        "remove_persisted": lambda ids: site.Removed(True, f"{len(ids)} removed"),
    }


def _unpowered(real: RunningSite) -> Lies:
    """Return a machine on whose disks nothing can be lost, though it says that it was."""
    cut: set[str] = set()

    def disk(server: str) -> object:
        return site.Disk(  # type: ignore[attr-defined]
            "/dev/loop0", server in cut, "Input/output error" if server in cut else ""
        )

    return {
        **_unkilled(real),
        **_server_unkilled(real),
        "disk": disk,
        "cut_power": cut.add,
        "restore_power": cut.discard,
    }


def _unalarmed(*, says_alarm: bool, blocks: bool = False) -> Callable[[RunningSite], Lies]:
    """Return a site with a RabbitMQ that takes what is published; with ``blocks`` all but once."""

    def lies(real: RunningSite) -> Lies:
        lowered: list[int] = []
        published: list[str] = []

        def alarms(_: str) -> frozenset[str]:
            return frozenset(
                {"memory"} if says_alarm and lowered and not (blocks and published) else ()
            )

        def blocked(server: str) -> str:
            published.append(server)
            return "told that it is blocked" if blocks and len(published) == 1 else ""

        def lower(_: str, limit: int | None) -> None:
            lowered[:] = [] if limit is None else [limit]

        at = Address("127.0.0.1", 1)
        broker = site.Endpoint("rabbitmq", at, {}, {})
        return {
            "endpoints": {**real.endpoints, "rabbitmq": broker},
            "alarms": alarms,
            "blocked": blocked,
            "server_lifetime": lambda _: real.incarnation(),  # type: ignore[attr-defined]
            "set_watermark": lower,
        }

    return lies


def _unrolled(real: RunningSite) -> Lies:
    def roll_out(*_: float) -> Sequence[object]:
        life = real.incarnation()  # type: ignore[attr-defined]
        return [site.Rolled(life, _stopped(), life)]  # type: ignore[attr-defined]

    return {"roll_out": roll_out}


def _untaken(real: RunningSite) -> Lies:
    def taken(*_: float) -> object:
        life = real.incarnation()  # type: ignore[attr-defined]
        return site.Rolled(life, _stopped(), life)  # type: ignore[attr-defined]

    return {"delete_pod": taken, "evict_pod": taken}


def _undrained(real: RunningSite) -> Lies:
    return {
        "drain_node": lambda: [_stopped()],
        "node_open": lambda: True,
        "open_node": real.incarnation,  # type: ignore[attr-defined]
    }


def _unscaled(_: RunningSite) -> Lies:
    return {"scale": lambda _: [_stopped()], "instances": lambda: 2}


def _disable_trigger(name: str) -> Callable[[RunningSite], None]:
    def disable(real: RunningSite) -> None:
        url = real.endpoints["postgres"].direct["url"]
        statement = sql.SQL("alter table notice disable trigger {}").format(sql.Identifier(name))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

    return disable


def _roomy(says_full: bool) -> Callable[[RunningSite], Lies]:
    """Return a disk that is never filled, whatever it says."""

    def lies(_: RunningSite) -> Lies:
        filled: set[str] = set()

        def room(server: str) -> object:
            full = says_full and server in filled
            refused = "No space left on device" if full else ""
            return site.Room(2**29, 0 if full else 2**28, refused)  # type: ignore[attr-defined]

        return {"room": room, "fill_disk": filled.add, "clear_disk": filled.discard}

    return lies


class _Boasting:
    """A health probe that has seen a full queue which was not there."""

    def __init__(self, real: RunningSite) -> None:
        self._real = real
        self._full = replace(real.probe.samples()[-1], queue_length=1000)

    def samples(self) -> Sequence[Sample]:
        return [*self._real.probe.samples(), self._full]

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        del timeout_s
        return self._full if wanted(self._full) else None


class _Blind:
    """A health probe that was shown neither the queue's length nor the pushes without room."""

    def __init__(self, real: RunningSite) -> None:
        self._blank = replace(real.probe.samples()[-1], queue_length=None, without_room=None)

    def samples(self) -> Sequence[Sample]:
        return [self._blank]

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        del timeout_s
        return self._blank if wanted(self._blank) else None


def _receiving(real: RunningSite) -> Lies:
    """Return a site with a receiver of webhooks, which the target does not call."""
    secret = "of-the-receiver"
    receiver = Receiver(("127.0.0.1", 0), secret, real.folder / "calls.jsonl")
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    at = Address("127.0.0.1", receiver.server_port)
    slot = Slot(real.folder, at, at, secret)
    direct = WEBHOOK.variables(slot, at)
    endpoint = site.Endpoint("webhook", at, direct, direct)
    RECEIVERS.append(receiver)
    return {"endpoints": {**real.endpoints, "webhook": endpoint}}


def _forgetful(_: RunningSite) -> None:
    RECEIVERS.pop().behave({})


RECEIVERS: list[Receiver] = []
_REJECT: Mapping[str, str | int | float] = {"table": "notice", "every": 10, "remainder": 7}

_CONTEND: Mapping[str, str | int | float] = {
    "table": "notice",
    "every": 15,
    "remainder": 7,
    "pairs": 2,
}

_CHILD: Mapping[str, str | int | float] = {"whom": "child"}
_TREE: Mapping[str, str | int | float] = {"whom": "tree"}

PREVENTIONS: Mapping[str, Sequence[Prevention]] = {
    "deadlock": [
        Prevention(
            "somebody disables the trigger at once",
            parameters=_CONTEND,
            between=_disable_trigger("lossmeter_contend"),
        ),
    ],
    "disk-full": [
        Prevention("nothing is written to the disk", _roomy(says_full=False)),
        Prevention("the disk says that it is full, and is not", _roomy(says_full=True)),
    ],
    "full-queue": [
        Prevention(
            "the queue is said to be full, and each push finds room",
            lambda real: {"probe": _Boasting(real)},
            {"length": 1000, "within_s": 0.1},
        ),
        Prevention(
            "the target does not tell how long its queue is",
            lambda real: {"probe": _Blind(real)},
            {"length": 1000, "within_s": 0.1},
        ),
    ],
    "latency": [
        Prevention(
            "the proxy takes every command and delays nothing",
            lambda _: _proxied(),
            {"latency_ms": 300},
        ),
    ],
    "proxy-down": [
        Prevention("the proxy takes every command and stays open", lambda _: _proxied()),
    ],
    "disconnect": [
        Prevention("the network keeps it as a member", _connected(member=True)),
        Prevention("the network says that it left, and it did not", _connected(member=False)),
    ],
    "evict": [Prevention("the pod is said to have been evicted, and serves on", _untaken)],
    "memory-alarm": [
        Prevention("the watermark is said to be set, and is not", _unalarmed(says_alarm=False)),
        Prevention("an alarm is said to be raised, and is not", _unalarmed(says_alarm=True)),
        Prevention(
            "somebody sets the watermark back at once", _unalarmed(says_alarm=True, blocks=True)
        ),
    ],
    "node-drain": [Prevention("the node is said to be empty, and its pods serve on", _undrained)],
    "oom": [
        Prevention(
            "the limit is taken and never comes into force",
            lambda _: {"limit_memory": _nothing},
            {"headroom_mib": 4, "within_s": 0.2},
        ),
        Prevention(
            "it is said to have been killed, and lives",
            _unended,
            {"headroom_mib": 4, "within_s": 0.2},
        ),
    ],
    "panic": [
        Prevention(
            "it is said to have aborted, and lives",
            lambda real: {"probe": _Deaf(real.probe), **_unended(real)},
        ),
    ],
    "partition": [
        Prevention("the proxy takes every command and obeys none", lambda _: _proxied()),
    ],
    "pause": [
        Prevention(
            "SIGSTOP is said to have worked, and did not",
            lambda _: {"pause": lambda: "stopped", "resume": _nothing},
        ),
        Prevention(
            "it stays in state running",
            lambda _: {"pause": lambda: "running", "resume": _nothing},
        ),
    ],
    "pod-delete": [
        Prevention("the pod is said to be deleted, and serves on", _untaken, {"grace_s": 1}),
    ],
    "power-loss": [Prevention("the disks are said to have lost power, and kept it", _unpowered)],
    "reject-rows": [
        Prevention(
            "somebody disables the trigger at once",
            parameters=_REJECT,
            between=_disable_trigger("lossmeter_reject"),
        ),
    ],
    "remove-rows": [
        Prevention("the events are said to be removed, and stay", _unremoved, {"count": 3}),
    ],
    "replace": [
        Prevention("the old one serves on", _unstopped(_stopped), {"grace_s": 1}),
        Prevention(
            "the old one is said to have been killed", _unstopped(_stopped_late), {"grace_s": 1}
        ),
    ],
    "rollout": [Prevention("the old ones serve on", _unrolled, {"grace_s": 1})],
    "scale-down": [
        Prevention("one is said to have ended, and as many serve as before", _unscaled, {"to": 1}),
    ],
    "server-kill": [Prevention("the server is said to be dead, and lives", _server_unkilled)],
    "sigkill": [
        Prevention("the signal is said to have been sent, and was not", _unkilled),
        Prevention("the parent alone is said to be killed, and lives", _unkilled, {"whom": "main"}),
        Prevention("the child is said to be killed, and lives", _child_unkilled, _CHILD),
        Prevention("the child is left out of the list, and lives", _child_hidden, _CHILD),
        Prevention("the tree is said to be killed, and lives", _tree_unkilled, _TREE),
        Prevention("the main process is killed, and its child is left", _tree_half_killed, _TREE),
    ],
    "stop": [
        Prevention("it is said to have ended, and serves on", _unstopped(_stopped), {"grace_s": 1}),
        Prevention(
            "it is said to have been killed, and serves on",
            _unstopped(_stopped_late),
            {"grace_s": 0},
        ),
    ],
    "webhook": [
        Prevention(
            "somebody has the receiver answer as usual at once",
            _receiving,
            {"answer": "refuse"},
            _forgetful,
        ),
    ],
}


class _Deaf:
    """A probe that looks, and whose requests nobody takes."""

    def __init__(self, real: Probe) -> None:
        self._real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def post(self, path: str, within_s: float) -> int | None:
        del path, within_s
        return None


def _proxied() -> Lies:
    return {"proxies": _NoProxies()}


def cases() -> list[tuple[str, Prevention]]:
    """Return each way to prevent each fault that there is."""
    known = names_in(faults)
    return [(name, each) for name in known for each in PREVENTIONS.get(name, ())]


# The page.


def _against(evidence: Sequence[Evidence]) -> str:
    return ", ".join(dict.fromkeys(each.source for each in evidence if not each.holds))


def page(rows: Sequence[tuple[str, Prevention, Result]]) -> str:
    """Return the page as Markdown."""
    lines = [
        "# Prevented faults",
        "",
        "Each fault was asked for on a real target, and silently prevented: what was asked",
        "said that it had happened. But for the fault, each run was one that passes. Generated",
        "by `make prevented-faults`.",
        "",
        "| fault | how it was prevented | who contradicts it | verdict |",
        "|---|---|---|---|",
        *(
            f"| {fault} | {prevention.how} | {_against(result.evidence)} | {result.verdict} |"
            for fault, prevention, result in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Carry all of them out, and write the page."""
    tell = Console(stderr=True)
    rows = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        up_on(runtime_named("local"), Path(scratch), target()) as up,
    ):
        for number, (fault, prevention) in enumerate(cases()):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            result = carry_out(fault, prevention, up, folder)
            tell.print(f"{fault}: {prevention.how}: {result.verdict}", highlight=False)
            rows.append((fault, prevention, result))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
