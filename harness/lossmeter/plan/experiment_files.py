"""Reads experiment files: what they say without running them, and what they define by running.

A Python file is an experiment's when it imports from ``lossmeter`` and speaks of
``EXPERIMENT``, a TOML file when it has a table ``[experiment]``; whatever else lies beside is
somebody else's, and is never run.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lossmeter.errors import UsageError
from lossmeter.experiment import DEFAULT, Experiment, PlannedFault, Variant
from lossmeter.plan.experiment_tables import OURS, read_experiment
from lossmeter.plan.tables import read_text
from lossmeter.plan.target import MAX_NAME

TABLES = ".toml"
_DEFINES = "EXPERIMENT"
_OURS = re.compile(r"^\s*(?:from|import)\s+lossmeter\b", re.MULTILINE)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Sketch:
    """What an experiment file says without being run; None where that takes running it."""

    hypothesis: str | None
    variants: tuple[str, ...] | None
    by_name_only: bool | None


def is_experiment_file(path: Path) -> bool:
    """Return whether a file is meant as an experiment, right or wrong."""
    try:
        text = read_text(path)
    except UsageError:
        # What cannot be read may be one: the shipped one of its name must not stand in for it.
        return path.is_file()
    if path.suffix == TABLES:
        return OURS.search(text) is not None
    return _DEFINES in text and _OURS.search(text) is not None


def sketch(path: Path) -> Sketch:
    """Read an experiment file without running it.

    Raises:
        UsageError: it cannot be read, is not Python, or does not define EXPERIMENT; or it is
            TOML, and wrong.
    """
    if path.suffix == TABLES:
        found = load_experiment(path)
        names = tuple(variant.name for variant in found.variants)
        return Sketch(found.hypothesis, names, found.by_name_only)
    text = read_text(path, "experiment file")
    try:
        body = ast.parse(text, str(path)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{path} cannot be loaded: {_sentence(error)}") from None
    known = dict(pair for node in body for pair in _assigned(node))
    if _DEFINES not in known:
        if any(isinstance(node, ast.ImportFrom | ast.If | ast.Try) for node in body):
            return Sketch(None, None, None)
        raise UsageError(f"{path} does not define {_DEFINES}")
    call = known[_DEFINES]
    if not isinstance(call, ast.Call) or any(each.arg is None for each in call.keywords):
        return Sketch(None, None, None)
    given = {each.arg: each.value for each in call.keywords}
    hypothesis = _literal(given.get("hypothesis"), known)
    only = _literal(given.get("by_name_only", ast.Constant(value=False)), known)
    return Sketch(
        hypothesis if isinstance(hypothesis, str) else None,
        _variants(given.get("variants"), known),
        only if isinstance(only, bool) else None,
    )


def load_experiment(path: Path) -> Experiment:
    """Return what an experiment file defines; one of Python is run.

    Raises:
        UsageError: it cannot be read or run, or does not define an experiment.
    """
    if path.suffix == TABLES:
        experiment, where = read_experiment(path), str(path)
    else:
        experiment, where = _defined(path), f"{path}: {_DEFINES}"
    if why := _wrong(experiment):
        raise UsageError(f"{where}: {why}")
    return experiment


def _defined(path: Path) -> Experiment:
    read_text(path, "experiment file")
    experiment = getattr(_run(path), _DEFINES, None)
    if not isinstance(experiment, Experiment):
        raise UsageError(f"{path} does not define {_DEFINES}")
    return experiment


def _run(path: Path) -> ModuleType:
    name = f"lossmeter_experiment_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their annotations there.
    sys.modules[name] = module
    try:
        # What it prints must not get between the lines of JSON.
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an exit, too, breaks only this file
        del sys.modules[name]
        raise UsageError(f"{path} cannot be loaded: {_sentence(error)}") from None
    return module


def _sentence(error: BaseException) -> str:
    """Return an error's kind and text in one line, whatever its text is."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - it comes from a file that is broken already
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _wrong(experiment: Any) -> str | None:
    """Return what would fail later on, or None; types are only hints where it was written."""
    variants = experiment.variants
    if not isinstance(variants, tuple) or not all(isinstance(v, Variant) for v in variants):
        return "variants is a tuple of Variant"
    faults = [each.faults for each in variants]
    targets = [experiment.targets, *(each.targets for each in variants)]
    names = [each.name for each in variants]
    bad = [n for n in (experiment.name, *filter(None, names)) if not _is_name(n)]
    again = [name for name in names if names.count(name) > 1]
    mended = [(v.name or DEFAULT, v.remedy_of) for v in variants if v.remedy_of is not None]
    known = {name or DEFAULT for name in names}
    stray = [of for own, of in mended if of not in known - {own}]
    rules = {
        "variants needs one Variant at least": not variants,
        "hypothesis is a text": not isinstance(experiment.hypothesis, str),
        "predict is a function": not callable(experiment.predict),
        "faults is a tuple of PlannedFault": not all(_tuple_of(f, PlannedFault) for f in faults),
        "targets is a tuple of names": not all(_tuple_of(each, str) for each in targets),
        f"{bad[:1]} is no name; right are at most {MAX_NAME} of a-z, 0-9 and -": bad,
        f"two variants have one name, {again[:1]}": again,
        f"remedy_of {stray[:1]} is the name of no other variant": stray,
    }
    return next((rule for rule, broken in rules.items() if broken), None)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def _tuple_of(value: object, kind: type) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, kind) for each in value)


def _assigned(node: ast.stmt) -> list[tuple[str, ast.expr]]:
    """Return the names that a statement gives a value, each with it."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [(each.id, node.value) for each in targets if isinstance(each, ast.Name)]


def _literal(node: ast.expr | None, known: dict[str, ast.expr]) -> object:
    """Return the value of a literal, or of a name that stands for one; None for others."""
    if isinstance(node, ast.Name):
        node = known.get(node.id)
    return node.value if isinstance(node, ast.Constant) else None


def _variants(node: ast.expr | None, known: dict[str, ast.expr]) -> tuple[str, ...] | None:
    if isinstance(node, ast.Name):
        node = known.get(node.id)
    if not isinstance(node, ast.Tuple):
        return None
    names = [
        _literal(each.args[0], known) if isinstance(each, ast.Call) and each.args else None
        for each in node.elts
    ]
    texts = tuple(name for name in names if isinstance(name, str))
    return texts if len(texts) == len(names) else None
