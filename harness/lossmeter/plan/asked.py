"""What a command line asks for in place of what an experiment says: its numbers, its load.

A run with other numbers is another question. So they are a part of the name that the run
carries, ``crash (rate 150, workers 3)``, and whatever picks runs by their name, or groups
them, keeps it apart from those without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from lossmeter.errors import UsageError
from lossmeter.experiment import Load, Phase, PlannedFault, Variant
from lossmeter.model import Address
from lossmeter.plan.behaviour import Behaviour
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.tables import first_problem, usable
from lossmeter.plan.target import is_loopback

Value = str | int | float
_SETTING = re.compile(r"[A-Za-z_][\w.-]*")
_QUEUE = re.compile(r"^(\s*queue_length\s*[<>=]+\s*)(\d+)\s*$")


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers in place of an experiment's own.

    Attributes:
        rate_per_s: of the whole load.
        duration_s: of the load; with a rate alone it is as long as the experiment's own, and
            with a duration alone each of its phases keeps its share.
        settings: by the names that target files have for them.
    """

    rate_per_s: float | None = None
    duration_s: float | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def parse(
        cls, rate_per_s: float | None, duration_s: float | None, settings: Sequence[str]
    ) -> Numbers:
        """Return the numbers that options give; a setting is ``NAME=VALUE``.

        Raises:
            UsageError: one is no number of its kind, or a setting is given twice.
        """
        for option, number in (("rate", rate_per_s), ("duration", duration_s)):
            if number is not None and not usable(number):
                raise UsageError(f"--{option} {number} is not a finite number of 64 bits")
        Phase(1 if rate_per_s is None else rate_per_s, 1 if duration_s is None else duration_s)
        given: dict[str, Value] = {}
        for text in settings:
            name, equals, value = text.partition("=")
            if not equals or not value or not _SETTING.fullmatch(name):
                raise UsageError(f"--set {text!r} is not of the form NAME=VALUE, as workers=3")
            if name in given:
                raise UsageError(f"--set gives {name} twice, {given[name]} and {value}")
            given[name] = _value(text, value)
        return cls(rate_per_s, duration_s, given)

    def asked(self) -> dict[str, Value]:
        """Return what is asked for by name, in the same order however it was typed."""
        load = {"rate": self.rate_per_s, "duration": self.duration_s}
        return {n: _short(v) for n, v in load.items() if v is not None} | dict(
            sorted(self.settings.items())
        )

    def put_on(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the same runs with these numbers.

        Raises:
            UsageError: a setting is known to none of their targets, or a number is out of range.
        """
        if not self.asked():
            return list(cells)
        known = {name for cell in cells for name in cell.target.settings}
        servers = {name for cell in cells for name in cell.target.services}
        for name in self.settings:
            if name not in known and name.partition(".")[0] not in servers:
                targets = ", ".join(dict.fromkeys(cell.target.name for cell in cells))
                raise UsageError(
                    f"--set {name}: target {targets} has no such setting; known are "
                    + (", ".join(sorted(known)) or "none: its file has no [settings]")
                )
        return [self._put_on(cell) for cell in cells]

    def _put_on(self, cell: Cell) -> Cell:
        variant, before = cell.variant, cell.numbers().get("capacity")
        capacity = self.settings.get("capacity")
        share = 1.0
        if before and isinstance(capacity, int | float) and "capacity" in cell.target.settings:
            share = capacity / before
        load = self._load(variant.load)
        longer = load.duration_s / variant.load.duration_s
        new = replace(
            variant,
            load=load,
            faults=tuple(_fitted(each, share, longer) for each in variant.faults),
            settings={**variant.settings, **self.settings},
        )
        _check_range(cell, new)
        scale = load.events / variant.load.events
        budget = (
            None if cell.budget is None else cell.budget.scaled(scale, exact=cell.experiment.exact)
        )
        return replace(cell, variant=new, budget=budget, asked=self.asked(), load_scale=scale)

    def _load(self, own: Load) -> Load:
        lasts_s = own.duration_s if self.duration_s is None else self.duration_s
        if self.rate_per_s is not None:
            phases: tuple[Phase, ...] = (Phase(self.rate_per_s, lasts_s),)
        else:
            longer = lasts_s / own.duration_s
            phases = tuple(replace(p, duration_s=p.duration_s * longer) for p in own.phases)
        load = replace(own, phases=phases)
        if not load.events:
            raise UsageError(f"a load of {load.duration_s:g} s at this rate has no event at all")
        return load


def _value(option: str, text: str) -> Value:
    """Return a number where the text is one, else the text."""
    try:
        number = float(text)
    except ValueError:
        return text
    if not usable(number):
        raise UsageError(f"--set {option}: {text} is not a finite number of 64 bits")
    return _short(number)


def _short(number: float) -> int | float:
    """Return a number as the same one is always written."""
    return int(number) if float(number).is_integer() else number


def _fitted(planned: PlannedFault, share: float, longer: float) -> PlannedFault:
    """Return a fault that meets the queue as full, and the load as far on, as it did before."""
    trigger, parameters = planned.trigger, dict(planned.parameters)
    if match := _QUEUE.match(trigger.condition or ""):
        length = max(1, round(int(match[2]) * share)) if int(match[2]) else 0
        trigger = replace(trigger, condition=f"{match[1]}{length}")
    if longer > 1:
        trigger = replace(trigger, limit_s=trigger.limit_s * longer)
    for name, factor in (("length", share), ("within_s", longer)):
        value = parameters.get(name)
        if isinstance(value, int | float):
            scaled = value * factor
            parameters[name] = round(scaled) if name == "length" else _short(round(scaled, 3))
    return replace(planned, trigger=trigger, parameters=parameters)


def _check_range(cell: Cell, variant: Variant) -> None:
    """Make sure that the settings are possible by what a target's behaviour may be.

    Raises:
        UsageError: one is not.
    """
    own = cell.target.behaviour.model_dump(exclude_none=True)
    varied = {n: v for n, v in variant.settings.items() if n in cell.target.settings}
    known = {n: v for n, v in varied.items() if n in Behaviour.model_fields}
    try:
        Behaviour.model_validate(own | known)
    except ValidationError as error:
        problem = error.errors()[0]
        value = known.get(str(problem["loc"][0])) if problem["loc"] else None
        where = f"{cell.full_name} on {cell.target.name}: --set {first_problem(error)}"
        raise UsageError(where + (f", not {value}" if value is not None else "")) from None
    for name, value in varied.items():
        if name.endswith("_s") and (isinstance(value, str) or value < 0):
            raise UsageError(
                f"{cell.full_name} on {cell.target.name}: --set {name} is {value!r}; right are "
                "seconds, 0 or more"
            )


def with_load_pods(cell: Cell, pods: int) -> Cell:
    """Return the same run with its load sent from so many pods of the target's cluster.

    Raises:
        UsageError: there may not be so many.
    """
    load = replace(cell.variant.load, processes=pods, pods=True)
    return replace(cell, variant=replace(cell.variant, load=load))


def with_load_processes(cell: Cell, processes: int, listen: Address | None) -> Cell:
    """Return the same run with its load sent from so many processes.

    Raises:
        UsageError: there may not be so many, or they could not reach the target.
    """
    if listen and not is_loopback(listen.host) and cell.target.attach is None:
        raise UsageError(
            f"target {cell.target.name} is started on 127.0.0.1, where load processes of other "
            f"machines cannot reach it; start it yourself so that it listens at {listen.host} too, "
            "and name it by attach.url"
        )
    if listen is not None and cell.variant.instances > 1:
        raise UsageError(
            f"{cell.name} has {cell.variant.instances} instances, which load processes of "
            "other machines cannot follow; leave out --load-listen"
        )
    load = replace(cell.variant.load, processes=processes, listen=str(listen or ""))
    return replace(cell, variant=replace(cell.variant, load=load))
