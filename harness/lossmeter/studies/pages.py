"""What each page of results rests on, kept beside it: ``made.json``.

A page is stale when an experiment, a target, the dispatcher or a study that it speaks of has
changed since in a way that can change its numbers. What runs and judges does not count: it
changes with most commits, and the page names the one that made it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.target import target_files
from lossmeter.record.files import read_text, why, write_text
from lossmeter.run.environment import commit
from lossmeter.studies import board, reported
from lossmeter.studies.digest import digest, files_in
from lossmeter.studies.standing import State

FILE = "made.json"
_DISPATCHER = "dispatcher"
# Runs are no pages, and not committed; what was attacked is no figure that anybody decides by.
_NO_PAGES = frozenset({"runs", "attack"})


class Basis(BaseModel):
    """What a page rests on.

    Attributes:
        commit: the code that made it, e.g. ``1a2b3c4d5e6f``; None when Git does not know.
        digest: of ``files``, when the runs were made.
        files: what it speaks of: paths of files and folders, from the project's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str | None
    digest: str
    files: tuple[str, ...]


_SAVED = TypeAdapter(dict[str, Basis])


def basis(
    catalogue: Catalogue,
    experiments: Iterable[str],
    targets: Iterable[str],
    also: Iterable[ModuleType] = (),
) -> Basis:
    """Return what a page of these experiments and targets rests on, as it is now.

    Args:
        catalogue: where they are looked up.
        experiments: names of experiments, with or without their variant's; names that are not
            known are left out.
        targets: names of targets, likewise.
        also: modules that the page rests on besides, e.g. a study.
    """
    named, files = catalogue.variants(), catalogue.experiment_files()
    known = {name: experiment.name for name, (experiment, _) in named.items()}
    paths = {files[name] for each in experiments if (name := known.get(each, each)) in files}
    of_targets = catalogue.target_files()
    for name in dict.fromkeys(targets):
        if name in of_targets:
            paths.update(target_files(of_targets[name], (catalogue.project.targets,)))
    if (dispatcher := catalogue.file("targets", _DISPATCHER)).is_dir():
        paths.add(dispatcher)
    paths.update(Path(file) for module in also if (file := module.__file__))
    return basis_of(catalogue.project.root, sorted(paths))


def made_now(commits: Iterable[str]) -> bool:
    """Return whether all that says which commit made it was made by the code of now.

    Args:
        commits: sentences or words that name one, e.g. ``lossmeter 0.1.0, commit 1a2b3c4d5e6f``.
            Code with changes beside its commit could be any.
    """
    now = commit()
    known = now is not None and " " not in now
    return known and all(_names(said, str(now)) for said in commits)


def _names(said: str, now: str) -> bool:
    return now in said and "with changes" not in said


def basis_of(root: Path, paths: Iterable[Path]) -> Basis:
    """Return what a page rests on that speaks of these files and folders."""
    files = tuple(os.path.relpath(path, root) for path in paths)
    return Basis(commit=commit(), digest=_now(root, files), files=files)


def _now(root: Path, files: Sequence[str]) -> str:
    """Return the digest of files as they are; one that is gone makes it differ."""
    there = [root / each for each in files if (root / each).exists()]
    gone = [each for each in files if not (root / each).exists()]
    every = [one for path in there for one in (files_in(path) if path.is_dir() else [path])]
    return digest(" ".join(gone), every)


def note(folder: Path, pages: Iterable[str], on: Basis | None) -> None:
    """Keep beside pages of a folder what they rest on; None for what is not of one version.

    Raises:
        UsageError: the file cannot be written, or is not what this module wrote.
    """
    path, saved = folder / FILE, dict(_read(folder / FILE))
    for page in pages:
        saved.pop(page, None)
        if on is not None:
            saved[page] = on
    content = {page: saved[page].model_dump() for page in sorted(saved)}
    try:
        write_text(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {why(error)}") from None


def _read(path: Path) -> Mapping[str, Basis]:
    if not path.exists():
        return {}
    try:
        return _SAVED.validate_json(read_text(path))
    except (ValidationError, OSError, ValueError) as error:
        raise UsageError(f"{path} is not what lossmeter wrote; remove it: {error}") from None


@dataclass(frozen=True, slots=True)
class Age:
    """Which pages below a folder are older than what they speak of.

    Attributes:
        current, stale: pages whose digest is that of now, or another.
        unknown: pages that no digest is kept of, so that nothing can be said.
    """

    current: Sequence[Path]
    stale: Sequence[Path]
    unknown: Sequence[Path]


def age(catalogue: Catalogue, results: Path) -> Age:
    """Return how old the pages below a folder are, by its files ``*.md``.

    Raises:
        UsageError: a file that should hold digests is damaged.
    """
    found: dict[bool | None, list[Path]] = {True: [], False: [], None: []}
    for page in sorted(results.rglob("*.md")):
        if page.relative_to(results).parts[0] not in _NO_PAGES:
            found[_is_current(catalogue, page)].append(page)
    return Age(found[True], found[False], found[None])


def _is_current(catalogue: Catalogue, page: Path) -> bool | None:
    for kept in (board, reported):
        if page.name == kept.PAGE and (page.parent / kept.STATE).exists():
            # It keeps digests of each run.
            made = State.load(page.parent / kept.STATE).made
            now = {entry.files for entry in kept.plan_of(catalogue).entries}
            return all(run.files in now for run in made)
    on = _read(page.parent / FILE).get(page.name)
    return None if on is None else on.digest == _now(catalogue.project.root, on.files)
