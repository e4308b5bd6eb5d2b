"""The image of a process that names none: its target's environment, with its folder in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lossmeter.plan.processes import Container, Process
from lossmeter.plan.project import Project
from lossmeter.plan.target import Target
from lossmeter.world.install import environments
from lossmeter.world.service import Recipe

_IMAGE = Path(__file__).with_name("images") / "application"
_IGNORE = ".dockerignore"
# What is made anew elsewhere, or is no business of the application's.
_LEFT_OUT = ("**/.*", "**/__pycache__", "**/node_modules")


def stands_for(target: Target, container: Container) -> dict[str, str]:
    """Return what ``{python}`` and the like stand for in a container of a target."""
    if container.by_itself:
        return environments.inside(target)
    return {"python": container.python}


def unfit(target: Target, process: Process) -> str | None:
    """Return why no image can be made for a process, or None."""
    known = environments.inside(target)
    asked = any("{python}" in text for text in process.texts)
    if not asked or "python" in known:
        return None
    return (
        f"target {target.name}, process {process.name}: {{python}} is not in an image that is made "
        f"of its environment, which has {', '.join(known)}; give environment a python = "
        '"requirements.lock", or the file a [container] with build or image'
    )


def recipes(target: Target, process: Process, say: Callable[[str], None]) -> Iterator[Recipe]:
    """Yield how the image of a process is built, each on top of the one before.

    Raises:
        UnavailableError: this machine lacks what its environment is made with.
    """
    yield from environments.recipes(target, say)
    if process.folder is not None and (files := _files(process.folder)):
        yield Recipe("application", _IMAGE, files, _digest(files.values()))


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a working folder by their names in the build.

    What ``.dockerignore`` names there stays out, or with a ``!`` before it comes in.
    """
    from docker.utils.build import exclude_paths  # noqa: PLC0415 - heavy

    left_out = [*_LEFT_OUT, *_runs_below(folder)]
    if (own := folder / _IGNORE).is_file():
        lines = (line.strip() for line in own.read_text(encoding="utf-8").splitlines())
        left_out += [line for line in lines if line and not line.startswith("#")]
    names = sorted(exclude_paths(str(folder), left_out) - {_IGNORE})
    return {f"folder/{name}": folder / name for name in names if (folder / name).is_file()}


def _runs_below(folder: Path) -> list[str]:
    """Return where runs are kept, if that is in a folder: each would change its image."""
    runs = Project.here().runs.resolve()
    return [str(runs.relative_to(folder))] if runs.is_relative_to(folder) else []
