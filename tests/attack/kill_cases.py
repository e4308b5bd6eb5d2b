"""What the kill script does, and what came of it: cases by seed and number, and their table."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.attack.made_on import made_on

# Faults by runtime, each with the targets to try it on; test_small.py holds this against what
# a runtime can do.
ANYWHERE = ("sigkill", "stop", "stop-pre-stop", "panic", "pause", "oom", "replace", "rollout")
BETWEEN = ("latency", "proxy-down", "partition", "server-kill", "reject-rows", "full-queue")
DISKS = ("deadlock", "disk-full", "power-loss")
PODS = ("pod-delete", "evict", "node-drain", "scale-down")
BROKER = ("sigkill", "partition", "server-kill")
# The only fault that takes RabbitMQ, which the reference dispatcher does not use.
ALARM = ("memory-alarm", "tests/attack/beside-rabbitmq.toml")
CELLS: dict[str, tuple[tuple[str, str], ...]] = {
    "local": (
        *((fault, "channel") for fault in (*ANYWHERE, *BETWEEN, *DISKS)),
        *((fault, "redis") for fault in (*BROKER, "power-loss")),
        *((fault, "kafka") for fault in (*BROKER, "stop")),
        ALARM,
    ),
    "docker": (
        *((fault, "channel") for fault in (*ANYWHERE, *BETWEEN, *DISKS, "disconnect")),
        *((fault, "redis") for fault in BROKER),
        ("server-kill", "kafka"),
        ALARM,
    ),
    "kubernetes": (
        *((fault, "channel") for fault in (*ANYWHERE, *BETWEEN, *PODS)),
        ("server-kill", "redis"),
    ),
}
JOURNAL = "journal-*.bin"
# What a run has printed, or written, when a moment has come, and the seconds within which a
# strike then comes.
MOMENTS: dict[str, tuple[str, float]] = {
    "start": ("", 2.5),
    "servers": (" ready on ", 2.0),
    "load": (JOURNAL, 1.5),
    "fault": ("injected", 1.0),
    "healing": ("healed", 1.0),
    "settling": ("settle", 1.5),
    "judging": ("settled:", 1.0),
}
LIVE = ("load", "fault", "healing", "settling")
INTERRUPTS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}
VICTIMS: dict[str, tuple[str, ...]] = {
    "server killed": ("postgres", "valkey-server", "redis-server", "java", "kafka", "beam.smp"),
    "Toxiproxy killed": ("toxiproxy",),
    "load killed": ("locust",),
}
HARSH = ("SIGKILL", "SIGKILL", "second SIGINT", *VICTIMS)
GENTLE = (*INTERRUPTS, "SIGINT to all")
# So many cases go at the same time; all of them gentle, so that it is seen what they leave
# before anything tidies up, or all of them harsh.
AT_ONCE = 4
GENTLE_SHARE = 0.4


def cells(runtimes_up: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return what is tried on these runtimes: runtime, fault and target."""
    return [(runtime, *cell) for runtime in runtimes_up for cell in CELLS[runtime]]


@dataclass(frozen=True, slots=True)
class Case:
    """One strike, as its seed and number choose it."""

    number: int
    runtime: str
    fault: str
    target: str
    kind: str
    moment: str
    delay_s: float
    gap_s: float

    @classmethod
    def choose(cls, seed: int, number: int, runtimes_up: Sequence[str]) -> Case:
        """Return a case; the cells come in turn, in an order by the seed, all else is random."""
        chance = random.Random(f"{seed}/{number}")
        every = cells(runtimes_up)
        random.Random(f"{seed}/cells").shuffle(every)
        runtime, fault, target = every[number % len(every)]
        of_batch = random.Random(f"{seed}/batch/{number // AT_ONCE}")
        kind = chance.choice(GENTLE if of_batch.random() < GENTLE_SHARE else HARSH)
        moment = chance.choice(LIVE if kind in VICTIMS else [*MOMENTS])
        delay_s = round(chance.uniform(0, MOMENTS[moment][1]), 3)
        return cls(number, runtime, fault, target, kind, moment, delay_s, chance.uniform(0, 1.5))


@dataclass(slots=True)
class Seen:
    """What came of a case.

    Attributes:
        struck: the strike came while the run was there.
        code: exit code of the run; negative for a signal.
        took_s: seconds between the strike and the end of the run.
        left: what was left after ``recover``; ``unclean``: what an interrupted run left for it.
        wrong: what else was not as it should be.
    """

    case: Case
    struck: bool = False
    code: int | None = None
    took_s: float = 0.0
    left: list[str] = field(default_factory=list)
    unclean: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def bad(self) -> list[str]:
        """Return all that makes it a failure."""
        return [*self.left, *self.unclean, *self.wrong]


def table(every: Sequence[Seen], seed: int) -> str:
    """Return what was seen, as Markdown: by runtime, fault and moment, and by kind of strike."""
    struck = [seen for seen in every if seen.struck]
    lines = [
        "# Kills and interrupts at random moments",
        "",
        "What `make attack` did and saw, by `tests/attack/kills.py`; left is what was there after",
        "`lossmeter recover` and not before: processes, ports, mounts, loop devices, cgroups,",
        "interfaces, shared memory, packet filter rules, files, containers, networks, volumes,",
        "namespaces. Not clean is what an interrupted run left for it.",
        "",
        f"{len(struck)} strikes of {len(every)} cases, seed {seed}:",
        f"{sum(bool(seen.left) for seen in struck)} left something,",
        f"{sum(bool(seen.unclean) for seen in struck)} not clean,",
        f"{sum(bool(seen.wrong) for seen in struck)} ended wrongly.",
        "",
    ]
    by_cell = Counter((s.case.runtime, s.case.fault, s.case.target) for s in struck)
    up = sorted({seen.case.runtime for seen in every})
    fewest = min(by_cell[cell] for cell in cells(up)) if up else 0
    lines += [f"Each of {len(cells(up))} cells was struck {fewest} times at least.", ""]
    by_kind = Counter(seen.case.kind for seen in struck)
    lines += _rows(("strike",), [(kind,) for kind in by_kind], struck)
    keys = sorted({(s.case.runtime, s.case.fault, s.case.moment) for s in struck})
    lines += ["", *_rows(("runtime", "fault", "moment"), keys, struck)]
    bad = [seen for seen in every if seen.bad]
    lines += ["", *(f"- case {seen.case.number}: {'; '.join(seen.bad)}" for seen in bad)]
    return "\n".join([*lines, *made_on()]) + "\n"


def _rows(
    names: Sequence[str], keys: Sequence[tuple[str, ...]], struck: Sequence[Seen]
) -> Iterator[str]:
    yield f"| {' | '.join(names)} | strikes | left | not clean | ended wrongly |"
    yield "|---" * len(names) + "|--:" * 4 + "|"
    fields = ["kind" if name == "strike" else name for name in names]
    for key in keys:
        of = [s for s in struck if tuple(getattr(s.case, each) for each in fields) == key]
        counts = [len(of), *(sum(bool(x) for x in y) for y in zip(*_failures(of), strict=True))]
        yield f"| {' | '.join(key)} | {' | '.join(map(str, counts))} |"


def _failures(of: Sequence[Seen]) -> list[tuple[list[str], list[str], list[str]]]:
    return [(seen.left, seen.unclean, seen.wrong) for seen in of]
