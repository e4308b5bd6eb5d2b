"""The recorded runs of a project, in the order in which they were begun.

When a run was begun is what it recorded; the name of its folder and its age say nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lossmeter.errors import UsageError
from lossmeter.model import without_numbers
from lossmeter.record.facts import FACTS, Facts
from lossmeter.record.manifest import MANIFEST, RESULT

_FOLDER = re.compile(r"(\d{8}T\d{6}Z)-(.+)-\d+")
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run whose facts can be read."""

    folder: Path
    facts: Facts


@dataclass(frozen=True, slots=True)
class DamagedRun:
    """A run that was cut short, or whose facts cannot be read.

    Attributes:
        experiment: by its folder's name; None where that is no name of a run.
        begun: the same, or else when the folder last changed; nothing better is known.
        ended: it holds what is written at the end of a run, so it was not cut short.
    """

    folder: Path
    why: str
    experiment: str | None
    begun: datetime
    ended: bool = True


def slug(name: str) -> str:
    """Return what the folder of a run bears of its name: numbers that were asked as a digest."""
    question = without_numbers(name)
    if question == name:
        return name
    return f"{question}-with-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def run_folders(runs: Path) -> list[Path]:
    """Return the folders of all runs, by name; a link may lead anywhere, and is none.

    Raises:
        UsageError: they cannot be listed.
    """
    return _parted(runs)[0]


def _parted(runs: Path) -> tuple[list[Path], list[Path]]:
    """Return what is a run by its name, or by what it holds under any other name; and the links."""
    try:
        if not runs.is_dir():
            return [], []
        every = sorted(p for p in runs.iterdir() if "-" in p.name or _has_facts(p))
    except OSError as error:
        raise UsageError(f"{runs} cannot be read: {error.strerror}") from None
    links = [path for path in every if path.is_symlink()]
    return sorted(set(every) - set(links)), links


def _has_facts(folder: Path) -> bool:
    try:
        return (folder / FACTS).exists()
    except PermissionError:
        # A run of its name cannot be ruled out, and none of the others is to suffer from it.
        return True


def _astray(folders: Sequence[Path], links: Sequence[Path]) -> Iterator[DamagedRun]:
    """Yield links in the places of runs, but for those to runs that stand there themselves."""
    there = {path.resolve() for path in folders} if links else set()
    for path in links:
        if Path(os.path.realpath(path)) not in there:
            experiment, begun = _by_name(path)
            yield DamagedRun(path, "it is a link, and no folder of a run", experiment, begun)


def read_run(folder: Path) -> RecordedRun | DamagedRun:
    """Read the facts of a run."""
    try:
        return RecordedRun(folder, Facts.load(folder))
    except UsageError as error:
        experiment, begun = _by_name(folder)
        ended = any(os.path.lexists(folder / name) for name in (FACTS, MANIFEST, RESULT))
        return DamagedRun(folder, str(error), experiment, begun, ended)


def _by_name(folder: Path) -> tuple[str | None, datetime]:
    """Return experiment and begin as a folder's name gives them; else None and its last change."""
    if match := _FOLDER.fullmatch(folder.name):
        with suppress(ValueError):
            begun = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return match[2], begun
    return None, _changed(folder)


def _changed(folder: Path) -> datetime:
    try:
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return _EPOCH


def recorded_runs(runs: Path) -> list[RecordedRun | DamagedRun]:
    """Return all runs, the oldest first.

    Raises:
        UsageError: they cannot be listed.
    """
    folders, links = _parted(runs)
    found = [*map(read_run, folders), *_astray(folders, links)]
    return sorted(found, key=_order)


def _order(run: RecordedRun | DamagedRun) -> tuple[datetime, bool, str]:
    # Of copies that were begun together, one that bears another name was put aside.
    kept_aside = not _FOLDER.fullmatch(run.folder.name)
    begun = run.facts.begun if isinstance(run, RecordedRun) else run.begun
    return begun or _EPOCH, not kept_aside, run.folder.name


def newest(runs: Path) -> Path:
    """Return the folder of the run that was begun last.

    Raises:
        UsageError: there is none.
    """
    found = [run for run in recorded_runs(runs) if isinstance(run, RecordedRun)]
    if not found:
        raise UsageError(f"{runs} holds no run yet; make one with `lossmeter run crash`")
    return found[-1].folder


def run_folder(runs: Path, name: Path) -> Path:
    """Return a run's folder, given its path or its name.

    Raises:
        UsageError: there is none.
    """
    for candidate in (name, runs / name):
        try:
            if candidate.is_dir():
                return candidate
        except OSError as error:
            raise UsageError(f"run {str(name)!r} cannot be read: {error.strerror}") from None
    raise UsageError(f"run {str(name)!r} does not exist, neither as a folder nor in {runs}")


def named(folders: Sequence[Path]) -> list[RecordedRun | DamagedRun]:
    """Read runs that were asked for by their folders, each once, in that order."""
    return [read_run(folder) for folder in dict.fromkeys(folders)]
