"""Frozen values that every room of the harness shares.

Standard library only: the load generator imports this file too, inside a process
that must start fast and carry little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from typing import Self

from lossmeter.errors import UsageError


class AckLevel(StrEnum):
    """What a target claims when it acks an event."""

    ENQUEUED = "enqueued"
    BROKER = "broker"
    DATABASE = "database"


class Status(IntEnum):
    """What the answer to one event proves."""

    UNKNOWN = 0
    ACKED = 1
    REFUSED = 2


class Verdict(StrEnum):
    """The judgement of one run. Nothing judged is never a pass."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"

    @property
    def judged(self) -> bool:
        """Return whether it says anything about the target."""
        return self in {Verdict.PASS, Verdict.FAIL}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation that a fault did, or did not, take place.

    Attributes:
        source: who saw it, e.g. ``waitpid`` or ``health-probe``; two pieces of
            evidence are independent when their sources differ.
        claim: one sentence saying what was seen.
        value: the reading itself, as text.
        holds: True when it supports the fault, False when it contradicts it.
        at_ns: wall clock, nanoseconds since the epoch.
    """

    source: str
    claim: str
    value: str
    holds: bool
    at_ns: int


# The classes of acked events that are not delivered, and that somebody still keeps.
HELD = ("dead_lettered", "pending", "stranded")
# Of the CPUs that a run might use: what processes of others used, and what nobody did.
OTHERS, IDLE = "others", "idle"


@dataclass(frozen=True, slots=True)
class Counts:
    """Events per class of the ledger; the classes are defined in ``ledger.reconcile``.

    ``late`` are some of the delivered, ``duplicated`` counts events persisted more than once,
    ``unexpected`` counts rows, and ``foreign`` what else is held with an id that nobody minted:
    it accounts for no event.
    """

    sent: int = 0
    acked: int = 0
    refused: int = 0
    unknown: int = 0
    delivered: int = 0
    lost: int = 0
    dead_lettered: int = 0
    pending: int = 0
    stranded: int = 0
    late: int = 0
    recovered: int = 0
    unresolved: int = 0
    resurrected: int = 0
    unexpected: int = 0
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0
    foreign: int = 0

    @property
    def held(self) -> int:
        """Return the events that are not delivered and that somebody still keeps."""
        return sum(getattr(self, name) for name in HELD)

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name, in the order of the class definition."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Expected:
    """One figure that the model expects of a run, beside the loss.

    Attributes:
        name: a measure of ``lossmeter.judge.ledger.measures``, e.g. ``refused``.
        value: in the measure's own unit.
        tolerance: by how much a measurement may differ, in the same unit.
        reason: why by so much.
    """

    name: str
    value: float
    tolerance: float
    reason: str


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the model says a run should show; ``None`` where it says nothing.

    Attributes:
        lost: acked events expected to be lost.
        lost_tolerance: events by which a measurement may differ, with its reason.
        duplicated_max: events at most persisted more than once.
        basis: one sentence with the numbers that went in.
        figures: what else is expected.
    """

    lost: int | None = None
    lost_tolerance: int = 0
    tolerance_reason: str = ""
    duplicated_max: int | None = None
    basis: str = ""
    figures: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address."""

    host: str
    port: int

    def __str__(self) -> str:
        # The colons of an IPv6 address are not the one before the port.
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that ``host:port`` names.

        Raises:
            UsageError: it names none.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"{text!r} is not an address of the form 10.0.0.1:5557")
        return cls(host, int(port))


def named_with(name: str, asked: Mapping[str, str | int | float]) -> str:
    """Return the name of a run with the numbers that it was asked with, if any."""
    numbers = ", ".join(f"{key} {value}" for key, value in asked.items())
    return f"{name} ({numbers})" if numbers else name


def without_numbers(name: str) -> str:
    """Return a run's name without those numbers; other names have no space in them."""
    return name.partition(" (")[0]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the one sentence that explains it."""

    verdict: Verdict
    reason: str
    breaches: tuple[str, ...] = field(default=())


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, or with a clause: ``1 row was read``, ``2 rows were read``.

    Args:
        number: how many.
        one: what one of them is called, or does.
        many: what several of them are called, or do; without it, ``one`` with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
