"""Finds the experiments, targets and budgets of a project folder."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.budget import Budget, Budgets, load_budgets
from harness.errors import UsageError
from harness.experiment import Experiment, Variant
from harness.model import Address
from harness.plugins import unknown
from harness.target import Target, is_loopback, load_target

ALL = "all"
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A project folder: ``experiments/``, ``targets/`` and ``results/``."""

    root: Path

    @classmethod
    def here(cls) -> Catalogue:
        """Return the catalogue of the working folder, or else of this installation."""
        here = Path.cwd()
        own = (here / "experiments").is_dir() and (here / "targets").is_dir()
        return cls(here if own else _PROJECT)

    @property
    def runs(self) -> Path:
        """Return the folder that holds the run folders."""
        return self.root / "results" / "runs"

    @property
    def history_file(self) -> Path:
        """Return the index of the runs."""
        return self.root / "results" / "history.sqlite"

    def experiment_names(self) -> list[str]:
        """Return the names of all experiments."""
        files = (self.root / "experiments").glob("[a-z]*.py")
        return sorted(path.stem.replace("_", "-") for path in files)

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return the experiments that these names mean.

        ``all`` stands for every one, but for those that are run by their own name only.

        Raises:
            UsageError: one is named twice.
        """
        if ALL in names:
            left_out = self.left_out(names)
            return [each for each in self.experiment_names() if each not in left_out]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"experiment {name!r} is named {names.count(name)} times")
        return list(names)

    def left_out(self, names: Sequence[str]) -> list[str]:
        """Return the experiments that ``all`` among these names does not stand for."""
        return [
            each
            for each in self.experiment_names()
            if ALL in names and each not in names and self.experiment(each).by_name_only
        ]

    def target_names(self) -> list[str]:
        """Return the names of all target files."""
        return sorted(path.stem for path in (self.root / "targets").glob("*.toml"))

    def experiment(self, name: str) -> Experiment:
        """Load one experiment by name, or by the path of its Python file.

        Raises:
            UsageError: there is none of that name, or its file is no experiment.
        """
        if name.endswith(".py"):
            path = Path(name)
            if not path.is_file():
                raise UsageError(f"experiment file {name} does not exist")
        elif name not in self.experiment_names():
            raise UsageError(unknown("experiment", name, self.experiment_names()))
        else:
            path = self.root / "experiments" / f"{name.replace('-', '_')}.py"
        module_name = "lossmeter_experiment_" + re.sub(r"\W", "_", name)
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{path} cannot be read as Python")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (SyntaxError, ImportError, NameError, TypeError) as error:
            raise UsageError(f"{path} cannot be loaded: {error}") from None
        experiment = getattr(module, "EXPERIMENT", None)
        if not isinstance(experiment, Experiment):
            raise UsageError(f"{path} does not define EXPERIMENT")
        return experiment

    def target(self, name: str) -> Target:
        """Load one target by name, or by the path of its TOML file.

        Raises:
            UsageError: there is none, or its file is wrong.
        """
        if name.endswith(".toml"):
            return load_target(Path(name))
        if name not in self.target_names():
            raise UsageError(unknown("target", name, self.target_names()))
        return load_target(self.root / "targets" / f"{name}.toml")

    @property
    def budgets_file(self) -> Path:
        """Return the file that holds the budgets."""
        return self.root / "experiments" / "budgets.toml"

    def budgets(self) -> Budgets:
        """Load ``experiments/budgets.toml``."""
        return load_budgets(self.budgets_file)

    def variants(self) -> dict[str, tuple[Experiment, Variant]]:
        """Return every variant of every experiment by the name that its runs carry."""
        found = {}
        for name in self.experiment_names():
            experiment = self.experiment(name)
            for variant in experiment.variants:
                found[full_name(experiment, variant)] = (experiment, variant)
        return found


def full_name(experiment: Experiment, variant: Variant) -> str:
    """Return an experiment's name with the variant's, as its runs carry it."""
    return "-".join(part for part in (experiment.name, variant.name) if part)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run to be made: an experiment's variant on a target."""

    experiment: Experiment
    variant: Variant
    target: Target
    budget: Budget | None

    @property
    def name(self) -> str:
        """Return the experiment's name with the variant's."""
        return full_name(self.experiment, self.variant)

    def environment(self) -> dict[str, str]:
        """Return what the variant's settings mean for this target's environment."""
        mapped = self.target.settings
        wanted = self.variant.settings
        return {mapped[name]: str(value) for name, value in wanted.items() if name in mapped}

    def numbers(self) -> dict[str, float]:
        """Return the numbers by which the target behaves in this run."""
        behaviour = self.target.behaviour.model_dump(exclude_none=True)
        told = {k: float(v) for k, v in behaviour.items() if not isinstance(v, bool | str)}
        for name, value in self.variant.settings.items():
            if name in self.target.settings and not isinstance(value, str):
                told[name] = float(value)
        return told

    def choices(self) -> dict[str, str]:
        """Return the words by which the target and its servers behave in this run."""
        behaviour = self.target.behaviour.model_dump(exclude_none=True)
        told = {name: value for name, value in behaviour.items() if isinstance(value, str)}
        asked = self.variant.settings.items()
        told |= {n: v for n, v in asked if n in self.target.settings and isinstance(v, str)}
        for server, settings in self.servers().items():
            told |= {f"{server}.{name}": value for name, value in settings.items()}
        return told

    def servers(self) -> dict[str, dict[str, str]]:
        """Return the settings of each of the target's servers."""
        told = {name: dict(self.target.servers.get(name, {})) for name in self.target.services}
        for name, value in self.variant.settings.items():
            server, dot, setting = name.partition(".")
            if dot and server in told:
                told[server][setting] = str(value)
        return told

    def lacks(self) -> str | None:
        """Return the first setting that the variant requires and the target does not map."""
        return next((n for n in self.variant.requires if n not in self.target.settings), None)


def cells(
    catalogue: Catalogue, experiment: Experiment, targets: Sequence[str], variants: Sequence[str]
) -> list[Cell]:
    """Return the runs of an experiment, target by target, variant by variant.

    Raises:
        UsageError: a target or variant does not exist.
    """
    by_name: Mapping[str, Variant] = {v.name or "default": v for v in experiment.variants}
    for name in variants:
        if name not in by_name:
            raise UsageError(unknown(f"variant of {experiment.name}", name, by_name))
    chosen = [by_name[name] for name in variants] or list(experiment.variants)
    asked = {
        v.name: [catalogue.target(n) for n in targets or v.targets or experiment.targets]
        for v in chosen
    }
    budgets = catalogue.budgets()
    own = Budget.model_validate(dict(experiment.bounds)) if experiment.bounds else None
    return [
        Cell(
            experiment,
            variant,
            target,
            budgets.find(experiment.name, variant.name, target.name) or own,
        )
        for variant in chosen
        for target in asked[variant.name]
    ]


def with_load_pods(cell: Cell, pods: int) -> Cell:
    """Return the same run with its load sent from so many pods of the target's cluster.

    Raises:
        UsageError: there may not be so many.
    """
    load = replace(cell.variant.load, processes=pods, pods=True)
    return replace(cell, variant=replace(cell.variant, load=load))


def with_load_processes(cell: Cell, processes: int, listen: Address | None) -> Cell:
    """Return the same run with its load sent from so many processes.

    Args:
        cell: a run.
        processes: how many.
        listen: where those on other machines report; None when they are started here.

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
