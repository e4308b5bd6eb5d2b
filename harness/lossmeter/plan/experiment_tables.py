"""Reads experiments without Python: a TOML file that has a table ``[experiment]``.

Everything that ``EXPERIMENT`` can say in Python has a word here; a prediction is asked for by
its name, see ``plan.predict.named``. What stands outside of ``[[variant]]`` holds for each
variant, unless that says otherwise; without any there is one, and it has no name::

    [experiment]
    hypothesis = "A dispatcher that is killed loses what it held in memory."
    targets = ["channel"]
    prediction = "crash"

    [load]
    rate_per_s = 200
    duration_s = 9

    [settings]
    workers = 5

    [[fault]]
    kind = "sigkill"
    when = "queue_length >= 500"
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lossmeter.errors import UsageError
from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.plan.predict.named import NEEDS, PREDICTIONS
from lossmeter.plan.tables import first_problem, read_tables
from lossmeter.plugins import unknown

OURS = re.compile(r"^\s*\[\s*experiment\s*\]", re.MULTILINE)
BEFORE = "before the load"


def _value(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise ValueError("is neither a number nor a text in quotes")  # noqa: TRY004 - pydantic's
    return value


def _names(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Value = Annotated[str | int | float, BeforeValidator(_value)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Count = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Phase(_Table):
    rate_per_s: float
    duration_s: float


class _Load(_Table):
    """``phases`` one after another, or one of ``rate_per_s`` for ``duration_s``."""

    phases: list[_Phase] = []
    rate_per_s: float | None = None
    duration_s: float | None = None
    producers: Count = 8
    payload_bytes: Annotated[int, Field(ge=0, le=1 << 20)] = 64
    max_in_flight: Count = 1500
    processes: Count = 1

    def made(self) -> Load:
        """Return the load.

        Raises:
            UsageError: its phases are missing or impossible.
        """
        steady = self.rate_per_s is not None and self.duration_s is not None
        some = self.rate_per_s is not None or self.duration_s is not None
        if steady == bool(self.phases) or (some and not steady):
            raise UsageError("[load] needs either rate_per_s and duration_s, or phases")
        phases = tuple(Phase(each.rate_per_s, each.duration_s) for each in self.phases)
        if self.rate_per_s is not None and self.duration_s is not None:
            phases = (Phase(self.rate_per_s, self.duration_s),)
        given = self.model_dump(include={"producers", "payload_bytes", "max_in_flight"})
        return Load(phases, processes=self.processes, **given)


class _Fault(_Table):
    """``when`` is a condition, or ``before the load``; ``at_s`` and ``step`` as in ``Trigger``."""

    kind: str
    when: str | None = None
    at_s: Annotated[float, Field(ge=0)] = 0.0
    limit_s: Annotated[float, Field(gt=0)] = 30.0
    step: str | None = None
    after: Annotated[int, Field(ge=0)] = 0
    hold_s: Annotated[float, Field(ge=0)] | Literal["until settled"] = 0.0
    parameters: dict[str, Value] = {}

    def made(self) -> PlannedFault:
        """Return the fault as it is planned.

        Raises:
            UsageError: its condition or its step does not exist.
        """
        before = self.when == BEFORE
        trigger = Trigger(
            condition=None if before else self.when,
            at_s=self.at_s,
            limit_s=self.limit_s,
            load="before" if before else "during",
            step=self.step,
            after=self.after,
        )
        hold_s = None if before or isinstance(self.hold_s, str) else self.hold_s
        return PlannedFault(self.kind, trigger, hold_s, self.parameters)


class _Variant(_Table):
    name: str = ""
    load: _Load | None = None
    settings: dict[str, Value] = {}
    fault: list[_Fault] | None = None
    targets: Names = ()
    requires: Names | None = None
    instances: Count | None = None
    tuned: bool | None = None
    remedy_of: str | None = None


class _Head(_Table):
    hypothesis: Annotated[str, Field(min_length=1)]
    targets: Annotated[Names, Field(min_length=1)]
    prediction: str = "none"
    exact: bool = False
    by_name_only: bool = False
    alone: bool = False
    requires: Names = ()
    instances: Count = 1
    tuned: bool = False


class _File(_Table):
    experiment: _Head
    load: _Load | None = None
    settings: dict[str, Value] = {}
    bounds: dict[str, Any] = {}
    fault: list[_Fault] = []
    variant: list[_Variant] = []

    def made(self, name: str) -> Experiment:
        """Return the experiment.

        Raises:
            UsageError: something in it does not exist, or is impossible.
        """
        head = self.experiment
        if head.prediction not in PREDICTIONS:
            raise UsageError(unknown("prediction", head.prediction, PREDICTIONS))
        variants = tuple(self._variant(each) for each in self.variant or [_Variant()])
        for variant in variants:
            _check_needs(head.prediction, variant)
        return Experiment(
            name=name,
            hypothesis=head.hypothesis,
            variants=variants,
            targets=head.targets,
            predict=PREDICTIONS[head.prediction],
            exact=head.exact,
            by_name_only=head.by_name_only,
            alone=head.alone,
            bounds=self.bounds,
        )

    def _variant(self, own: _Variant) -> Variant:
        load, head = own.load or self.load, self.experiment
        if load is None:
            raise UsageError("[load] is missing")
        faults = self.fault if own.fault is None else own.fault
        return Variant(
            name=own.name,
            load=load.made(),
            faults=tuple(each.made() for each in faults),
            settings={**self.settings, **own.settings},
            targets=own.targets,
            requires=head.requires if own.requires is None else own.requires,
            instances=own.instances or head.instances,
            tuned=head.tuned if own.tuned is None else own.tuned,
            remedy_of=own.remedy_of,
        )


def _check_needs(prediction: str, variant: Variant) -> None:
    needed = NEEDS.get(prediction, ())
    for planned in variant.faults:
        for name in needed:
            if isinstance(planned.parameters.get(name), int | float):
                continue
            raise UsageError(
                f"prediction {prediction!r} needs the parameter {name} of each fault, as a number; "
                "write it under parameters, or ask for another prediction"
            )


TABLES: dict[str, type[_Table]] = {
    "experiment": _Head,
    "load": _Load,
    "phases": _Phase,
    "fault": _Fault,
    "variant": _Variant,
}


def read_experiment(path: Path) -> Experiment:
    """Read an experiment from a TOML file; its name is that of the file.

    Raises:
        UsageError: the file cannot be used; one sentence says where it is wrong.
    """
    tables = read_tables(path, "experiment file")
    if not isinstance(tables.get("experiment"), dict):
        raise UsageError(f"{path} is no experiment: it has no table [experiment]")
    try:
        return _File.model_validate(tables).made(experiment_name(path))
    except ValidationError as error:
        raise UsageError(f"{path}: {_sentence(error)}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def experiment_name(path: Path) -> str:
    """Return the name by which an experiment's file is found."""
    return path.stem.replace("_", "-")


def _sentence(error: ValidationError) -> str:
    """Return the first problem; of a word that does not exist, which there are."""
    problem = error.errors()[0]
    if problem["type"] != "extra_forbidden":
        return first_problem(error)
    *where, word = [part for part in problem["loc"] if isinstance(part, str)]
    table = next((TABLES[part] for part in reversed(where) if part in TABLES), _File)
    place = f"[{'.'.join(where)}]: " if where else ""
    return place + unknown("word", word, table.model_fields)
