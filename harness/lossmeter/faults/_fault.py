"""What a fault is: a class that says what it takes, needs and strikes before it is built.

Admission reads only the class and its parameters. The fault itself is built once, when its
moment comes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossmeter import faults
from lossmeter.errors import FaultError, UsageError
from lossmeter.model import Evidence
from lossmeter.plugins import load
from lossmeter.world.site import Site

TARGET = "the target"


class Strikes(Enum):
    """What a fault acts on."""

    TARGET = auto()
    """The target's process: it ends, stands still or is cut off."""
    SERVER = auto()
    """A server's process."""
    DISK = auto()
    """The disk that a server keeps its data on."""
    MEMORY = auto()
    """What a server makes of its memory; its process goes on."""
    WAY = auto()
    """The way to a server, at the proxy in front of it."""
    TABLE = auto()
    """A table of a server, which must live as long as the fault holds."""


class Parameters(BaseModel):
    """What a fault takes; the description of each field says what is right for it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def graces(self) -> tuple[float, float] | None:
        """Return grace and preStop, seconds, that the runtime must know beforehand; or None."""
        return None


def within(low: float, high: float, unit: str, *, above: bool = False) -> Any:
    """Return the bounds of a number; with ``above`` it may not be ``low`` itself."""
    lower = {"gt": low} if above else {"ge": low}
    right = f"{'above ' if above else ''}{low:g} to {high:g} {unit}"
    return Field(**lower, le=high, description=right)  # type: ignore[call-overload]


P = TypeVar("P", bound=Parameters)
Capability = TypeVar("Capability")


class Fault(ABC, Generic[P]):
    """One fault of one run.

    Attributes:
        takes: its parameters.
        needs: the capabilities without which it cannot be injected.
        servers: names of the servers that it can strike, where no parameter says so; of
            several, the first that the target uses is struck.
        strikes: what it acts on. Two faults that strike the same cannot hold at once.
        every_server: it strikes each of its servers that the target uses.
        takes_away: the servers that it strikes do not answer the target until it is healed.
        kills: it ends the target by SIGKILL, which a frozen target cannot evade either.
        over_http: it asks the target itself, by a request, for what is to happen.
        whole_machine: it takes of the machine what others use too, or counts what they do.
        delayed: it strikes some time after its injection, or not at all.
        struck_ns: when a delayed one struck, wall clock in nanoseconds; None when it did not.
        gone_ns: when the target was found to have ended, wall clock in nanoseconds; None where
            that is not what the fault does.
        survived: the target lived through what could have ended it.
    """

    takes: ClassVar[type[Parameters]] = Parameters
    needs: ClassVar[tuple[type, ...]] = ()
    servers: ClassVar[tuple[str, ...]] = ()
    strikes: ClassVar[frozenset[Strikes]] = frozenset()
    every_server: ClassVar[bool] = False
    takes_away: ClassVar[bool] = False
    kills: ClassVar[bool] = False
    over_http: ClassVar[bool] = False
    whole_machine: ClassVar[bool] = False
    delayed: ClassVar[bool] = False

    struck_ns: int | None = None
    gone_ns: int | None = None
    survived: bool = False

    def __init__(self, asked: P) -> None:
        self.asked = asked

    @classmethod
    def name(cls) -> str:
        """Return the name by which experiments ask for it: that of its file."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def needed(cls, asked: Parameters) -> tuple[type, ...]:
        """Return the capabilities that it needs with these parameters."""
        del asked
        return cls.needs

    @abstractmethod
    def inject(self, site: Site) -> list[Evidence]:
        """Bring the fault about and return what proves it so far.

        Raises:
            FaultError: it could not be injected.
        """

    def heal(self, site: Site) -> list[Evidence]:
        """End the fault and return what else proves that it was there.

        Must be safe to call when ``inject`` failed half-way. Does nothing where injecting
        has ended it already.

        Raises:
            FaultError: it could not be healed.
        """
        del site
        return []

    def capable(self, site: Site, capability: type[Capability]) -> Capability:
        """Return the site as one that has a capability.

        Raises:
            FaultError: it has not.
        """
        if not isinstance(site, capability):
            raise FaultError(f"{self.name()} needs a target that is {capability.__name__.lower()}")
        return site


@dataclass(frozen=True, slots=True)
class Chosen:
    """A fault that was asked for, with its checked parameters; nothing is built yet."""

    kind: type[Fault[Any]]
    asked: Parameters

    @property
    def needs(self) -> tuple[type, ...]:
        """Return the capabilities that it needs."""
        return self.kind.needed(self.asked)

    @property
    def servers(self) -> tuple[str, ...]:
        """Return the names of the servers that it can strike; empty for all or for none."""
        named: tuple[str, ...] = getattr(self.asked, "servers", self.kind.servers)
        return named

    @property
    def at_servers(self) -> bool:
        """Return whether it strikes servers, or the way to them."""
        return bool(self.kind.strikes - {Strikes.TARGET})

    @property
    def process(self) -> str:
        """Return the name of the process, or of the instance, that it strikes; empty for all."""
        named: str = getattr(self.asked, "process", "")
        return named

    def struck(self, used: Collection[str]) -> tuple[str, ...]:
        """Return those of the servers in use that it strikes."""
        if not self.at_servers:
            return ()
        hit = tuple(name for name in self.servers or used if name in used)
        return hit if self.kind.every_server else hit[:1]

    def alone(self, used: Collection[str]) -> frozenset[str]:
        """Return, in words, what no other fault may strike or use while it holds."""
        strikes, name = self.kind.strikes, self.kind.name()
        own = [TARGET] if Strikes.TARGET in strikes and not self.process else []
        for server in self.struck(used):
            process = strikes & {Strikes.SERVER, Strikes.DISK}
            own.append(f"server {server}" if process else f"{name} at server {server}")
        return frozenset(own)

    def shared(self, used: Collection[str]) -> frozenset[str]:
        """Return, in words, what it uses and others may use too, but not strike."""
        users = self.struck(used) if Strikes.TABLE in self.kind.strikes else ()
        return frozenset(f"server {server}" for server in users)

    def build(self) -> Fault[Any]:
        """Return the fault, for one run."""
        return self.kind(self.asked)


def clash(one: Chosen, other: Chosen, used: Collection[str]) -> str | None:
    """Return what two faults would both strike, in words, or None when they can be combined."""
    if Strikes.TARGET in one.kind.strikes & other.kind.strikes and (
        both_of := _process_of_both(one.process, other.process)
    ):
        return both_of
    mine, others = one.alone(used), other.alone(used)
    both = mine & (others | other.shared(used)) | others & one.shared(used)
    return min(both, default=None)


def _process_of_both(one: str, other: str) -> str | None:
    """Return what two faults at processes would both strike, in words; none named is all."""
    if not one or not other:
        return f"process {one or other}" if one or other else TARGET
    instances = one != process_of(one) and other != process_of(other)
    same = one == other if instances else process_of(one) == process_of(other)
    return f"process {one}" if same else None


def process_of(part: str) -> str:
    """Return the name of the process that a part is an instance of, e.g. of ``worker-0``."""
    name, _, number = part.rpartition("-")
    return name if number.isdecimal() else part


def choose(name: str, parameters: Mapping[str, str | int | float]) -> Chosen:
    """Return the fault of a name, with its parameters.

    Raises:
        UsageError: there is no such fault, or its parameters are wrong.
    """
    kind = _kind_in(load(faults, name, "fault"))
    try:
        return Chosen(kind, kind.takes.model_validate(dict(parameters)))
    except ValidationError as error:
        raise UsageError(_problem(name, kind.takes, error)) from None


def _kind_in(module: ModuleType) -> type[Fault[Any]]:
    """Return the fault that a module defines."""
    (kind,) = (
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Fault) and each.__module__ == module.__name__
    )
    return kind


def _problem(fault: str, takes: type[Parameters], error: ValidationError) -> str:
    """Return one sentence about the first thing that is wrong with parameters."""
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    name = str(first["loc"][0]) if first["loc"] else ""
    known = ", ".join(takes.model_fields) or "no parameters"
    if first["type"] == "extra_forbidden":
        return f"fault {fault} takes {known}, got {name}"
    if not name:
        return f"fault {fault}: {first['ctx']['error']}"
    right = takes.model_fields[name].description
    if first["type"] == "missing":
        return f"fault {fault} takes {known}, and {name} is missing; right is {right}"
    if first["type"] == "value_error":
        right = str(first["ctx"]["error"])
    return f"fault {fault}: {name} is {first['input']!r}; right is {right}"


def now(source: str, claim: str, value: str, holds: bool) -> Evidence:
    """Return evidence that was seen just now."""
    return Evidence(source, claim, value, holds, time.time_ns())
