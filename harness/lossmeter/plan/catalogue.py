"""Finds the experiments, targets and budgets of a project, and those that are shipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from lossmeter.errors import UsageError
from lossmeter.experiment import DEFAULT, Experiment, Variant
from lossmeter.model import named_with
from lossmeter.plan.budget import Budget, Budgets, load_budgets
from lossmeter.plan.experiment_files import is_experiment_file, load_experiment, sketch
from lossmeter.plan.experiment_tables import experiment_name
from lossmeter.plan.project import SHIPPED, Project
from lossmeter.plan.tables import first_problem
from lossmeter.plan.target import Target, is_target_file, load_target
from lossmeter.plugins import unknown

ALL = "all"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a project and this installation have; the project's own come first."""

    project: Project

    @classmethod
    def here(cls) -> Catalogue:
        """Return the catalogue of the working folder's project.

        Raises:
            UsageError: the project's file is wrong.
        """
        return cls(Project.here())

    @property
    def runs(self) -> Path:
        """Return the folder that holds the run folders."""
        return self.project.runs

    @property
    def results(self) -> Path:
        """Return the folder of what is made of runs: tables, indexes, JUnit XML."""
        return self.project.results

    @property
    def history_file(self) -> Path:
        """Return the index of the runs."""
        return self.results / "history.sqlite"

    def experiment_files(self) -> dict[str, Path]:
        """Return the file of each experiment by its name; looked at, not run.

        Raises:
            UsageError: a folder cannot be read, or two files in it have one name.
        """
        return _experiments(SHIPPED / "experiments") | _experiments(self.project.experiments)

    def target_files(self) -> dict[str, Path]:
        """Return the file of each target by its name."""
        folders = dict.fromkeys((SHIPPED / "targets", self.project.targets))
        found = [file for folder in folders for file in _files(folder, "*.toml", is_target_file)]
        return {file.stem: file for file in found}

    def experiment_names(self) -> list[str]:
        """Return the names of all experiments."""
        return sorted(self.experiment_files())

    def target_names(self) -> list[str]:
        """Return the names of all targets."""
        return sorted(self.target_files())

    def clashes(self) -> list[str]:
        """Return a sentence for each own file that takes the place of a different shipped one."""
        found = [("experiment", name) for name in sorted(self._replaced())]
        files = {"experiment": self.experiment_files(), "target": self.target_files()}
        found += [
            ("target", name)
            for name, file in sorted(files["target"].items())
            if _differs(file, SHIPPED / "targets" / file.name)
        ]
        return [
            f"{kind} {name} is {files[kind][name]}, not the shipped one" for kind, name in found
        ]

    def _replaced(self) -> set[str]:
        """Return the shipped experiments that the project has others in the place of."""
        shipped, own = _experiments(SHIPPED / "experiments"), self.experiment_files()
        return {name for name, file in shipped.items() if _differs(own[name], file)}

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return the experiments that these names mean.

        ``all`` stands for every one, but for those that are run by their own name only.

        Raises:
            UsageError: one is named twice.
        """
        if ALL in names:
            left_out = self.left_out(names)
            return [each for each in self.experiment_names() if each not in left_out]
        _once("experiment", names)
        return list(names)

    def left_out(self, names: Sequence[str]) -> list[str]:
        """Return the experiments that ``all`` among these names does not stand for."""
        if ALL not in names:
            return []
        files = self.experiment_files().items()
        return sorted(each for each, path in files if each not in names and _by_name_only(path))

    def experiment(self, name: str) -> Experiment:
        """Load one experiment by name, or by the path of its Python or TOML file.

        Raises:
            UsageError: there is none of that name, or its file is no experiment.
        """
        return load_experiment(self.experiment_file(name))

    def experiment_file(self, name: str) -> Path:
        """Return the file of an experiment, by its name or as it is given.

        Raises:
            UsageError: there is none of that name.
        """
        if name.endswith((".py", ".toml")):
            return Path(name)
        known = self.experiment_files()
        if name not in known:
            raise UsageError(unknown("experiment", name, known))
        return known[name]

    def target(self, name: str) -> Target:
        """Load one target by name, or by the path of its TOML file.

        Raises:
            UsageError: there is none, or its file is wrong.
        """
        path = self.target_file(name)
        return load_target(path, (self.project.targets,))

    def target_file(self, name: str) -> Path:
        """Return the file of a target, by its name or as it is given.

        The others are looked at only to name what is near.

        Raises:
            UsageError: there is none of that name.
        """
        if name.endswith(".toml"):
            return Path(name)
        if "/" not in name:
            # One of the project's own that is named is meant, whatever it looks like; loading
            # it says what is wrong.
            for folder in (self.project.targets, SHIPPED / "targets"):
                if (file := folder / f"{name}.toml").is_file():
                    return file
        raise UsageError(unknown("target", name, self.target_files()))

    def targets(self, names: Sequence[str]) -> list[Target]:
        """Load targets by name or file; their runs are kept apart by the names in the files.

        Raises:
            UsageError: there is none, its file is wrong, or two have one name.
        """
        _once("target", names)
        found: dict[str, str] = {}
        targets = [self.target(name) for name in names]
        for name, target in zip(names, targets, strict=True):
            if target.name in found:
                raise UsageError(
                    f"{found[target.name]} and {name} are both called {target.name!r}, and runs "
                    "are told apart by that name; give one of them another"
                )
            found[target.name] = name
        return targets

    def file(self, kind: Literal["experiments", "targets"], name: str) -> Path:
        """Return a file beside experiments or targets: the project's own, or else the shipped."""
        own = (self.project.experiments if kind == "experiments" else self.project.targets) / name
        return own if own.exists() else SHIPPED / kind / name

    @property
    def budgets_file(self) -> Path:
        """Return the file that holds the project's own budgets."""
        return self.project.budgets

    def budgets(self) -> Budgets:
        """Return the project's own budgets, over those that are shipped.

        A shipped budget says nothing about a file that took the place of a shipped one.
        """
        own = load_budgets(self.budgets_file)
        file = SHIPPED / "experiments" / "budgets.toml"
        if file.resolve() == self.budgets_file.resolve():
            return own
        shipped = load_budgets(file)
        replaced = self._replaced()
        tables = {name: table for name, table in shipped.tables.items() if name not in replaced}
        return replace(own, under=Budgets(tables, file))

    def variants(self) -> dict[str, tuple[Experiment, Variant]]:
        """Return every variant of every experiment by the name that its runs carry.

        A file that cannot be loaded breaks only itself: it is left out.
        """
        found = {}
        for name in self.experiment_names():
            try:
                experiment = self.experiment(name)
            except UsageError:
                continue
            for variant in experiment.variants:
                found[full_name(experiment, variant)] = (experiment, variant)
        return found


def _files(folder: Path, pattern: str, ours: Callable[[Path], bool]) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if ours(path))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from None


def _experiments(folder: Path) -> dict[str, Path]:
    """Return the experiment files of a folder by name; of two of one name none is the right one."""
    found: dict[str, Path] = {}
    for pattern in ("[a-z]*.py", "[a-z]*.toml"):
        for path in _files(folder, pattern, is_experiment_file):
            name = experiment_name(path)
            if name in found:
                raise UsageError(
                    f"{found[name]} and {path} are both experiment {name!r}; give one of them "
                    "another name"
                )
            found[name] = path
    return found


def _differs(own: Path, shipped: Path) -> bool:
    """Return whether a file takes the place of a shipped one that says something else."""
    try:
        return shipped.is_file() and own.read_bytes() != shipped.read_bytes()
    except OSError:
        return True


def _by_name_only(path: Path) -> bool:
    """Return whether ``all`` leaves an experiment out; one that is broken it does not."""
    try:
        said = sketch(path).by_name_only
        return load_experiment(path).by_name_only if said is None else said
    except UsageError:
        return False


def _once(kind: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{kind} {name!r} is named {names.count(name)} times")


def full_name(experiment: Experiment, variant: Variant) -> str:
    """Return an experiment's name with the variant's, as its runs carry it."""
    return "-".join(part for part in (experiment.name, variant.name) if part)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run to be made: an experiment's variant on a target.

    Attributes:
        asked: the numbers that a command line gave in place of the experiment's own.
        load_scale: how many times as many events as the experiment's own load these make.
    """

    experiment: Experiment
    variant: Variant
    target: Target
    budget: Budget | None
    asked: Mapping[str, str | int | float] = field(default_factory=dict)
    load_scale: float = 1.0

    @property
    def full_name(self) -> str:
        """Return the experiment's name with the variant's."""
        return full_name(self.experiment, self.variant)

    @property
    def name(self) -> str:
        """Return the name that the run carries; numbers of a command line are a part of it."""
        return named_with(self.full_name, self.asked)

    def environment(self) -> dict[str, str]:
        """Return what the variant's settings mean for this target's environment."""
        mapped = self.target.settings
        wanted = self.variant.settings
        return {mapped[name]: str(value) for name, value in wanted.items() if name in mapped}

    def numbers(self) -> dict[str, float]:
        """Return the numbers by which the target behaves in this run."""
        behaviour = self.target.behaviour.model_dump(exclude_none=True)
        reported = {k: float(v) for k, v in behaviour.items() if not isinstance(v, bool | str)}
        for name, value in self.variant.settings.items():
            if name in self.target.settings and not isinstance(value, str):
                reported[name] = float(value)
        return reported

    def choices(self) -> dict[str, str]:
        """Return the words by which the target and its servers behave in this run."""
        behaviour = self.target.behaviour.model_dump(exclude_none=True)
        reported = {name: value for name, value in behaviour.items() if isinstance(value, str)}
        asked = self.variant.settings.items()
        reported |= {n: v for n, v in asked if n in self.target.settings and isinstance(v, str)}
        for server, settings in self.servers().items():
            reported |= {f"{server}.{name}": value for name, value in settings.items()}
        return reported

    def servers(self) -> dict[str, dict[str, str]]:
        """Return the settings of each of the target's servers."""
        reported = {name: dict(self.target.servers.get(name, {})) for name in self.target.services}
        for name, value in self.variant.settings.items():
            server, dot, setting = name.partition(".")
            if dot and server in reported:
                reported[server][setting] = str(value)
        return reported

    def lacks(self) -> str | None:
        """Return the first setting that the run must have and the target does not map."""
        have = set(self.target.settings)
        asked = [n for n in self.asked if n in self.variant.settings]
        servers = {n for n in asked if n.partition(".")[0] in self.target.services and "." in n}
        needed = [*self.variant.requires, *(n for n in asked if n not in servers)]
        return next((name for name in needed if name not in have), None)


def cells(
    catalogue: Catalogue, experiment: Experiment, targets: Sequence[str], variants: Sequence[str]
) -> list[Cell]:
    """Return the runs of an experiment, target by target, variant by variant.

    Raises:
        UsageError: a target or variant does not exist, or is named twice.
    """
    by_name: Mapping[str, Variant] = {v.name or DEFAULT: v for v in experiment.variants}
    _once("variant", variants)
    for name in variants:
        if name not in by_name:
            raise UsageError(unknown(f"variant of {experiment.name}", name, by_name))
    chosen = [by_name[name] for name in variants] or list(experiment.variants)
    asked = {
        v.name: catalogue.targets(list(targets) or list(v.targets or experiment.targets))
        for v in chosen
    }
    budgets = catalogue.budgets()
    own = _bounds(experiment)
    return [
        Cell(
            experiment,
            fitted(variant, target),
            target,
            budgets.find(experiment.name, variant.name, target.name) or own,
        )
        for variant in chosen
        for target in asked[variant.name]
    ]


def fitted(variant: Variant, target: Target) -> Variant:
    """Return the variant with the settings that suit a target best, where it asks for them."""
    settings = {**variant.settings, **target.tuned}
    return replace(variant, settings=settings) if variant.tuned else variant


def _bounds(experiment: Experiment) -> Budget | None:
    try:
        return Budget.model_validate(dict(experiment.bounds)) if experiment.bounds else None
    except (ValidationError, TypeError, ValueError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"experiment {experiment.name}: bounds: {why}") from None
