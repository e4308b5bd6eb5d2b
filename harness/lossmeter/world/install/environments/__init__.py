"""Environments of a target's own: packages that its locks pin, made once and kept in the cache.

One file for each kind of ``plan.environment.Environment``, with ``bring``, which makes what is
missing and returns what a target file may interpolate. ``recipe`` says how the same gets into an
image, on top of another, and ``INSIDE`` what may be interpolated there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from lossmeter.errors import CacheError, UnavailableError
from lossmeter.plan.target import Target
from lossmeter.world.service import Recipe


class Kind(Protocol):
    """What the file of a kind defines.

    Each function takes the lock, what sentences call it, and what hears of steps that take time.
    """

    INSIDE: Mapping[str, str]

    def bring(self, lock: Path, where: str, say: Callable[[str], None]) -> dict[str, str]:
        """Make it on this machine; return what may be interpolated."""

    def recipe(self, lock: Path, where: str, say: Callable[[str], None]) -> Recipe:
        """Return how it gets into an image, having made what is only copied there."""


def bring(target: Target, say: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """Make the environment of a target where it is not in the cache; return what it offers.

    Returns:
        By name what may be interpolated: ``python``; ``node`` and ``app``; ``program``. Nothing
        for a target without an environment of its own.

    Raises:
        UnavailableError: this machine lacks what makes it, or a hash does not match.
    """
    offered: dict[str, str] = {}
    for kind, lock in _asked(target):
        with _as_unavailable(target) as where:
            offered |= kind.bring(lock, where, say)
    return offered


def recipes(target: Target, say: Callable[[str], None]) -> Iterator[Recipe]:
    """Yield how the environment of a target gets into an image, each on top of the one before.

    Raises:
        UnavailableError: as ``bring``.
    """
    for kind, lock in _asked(target):
        with _as_unavailable(target) as where:
            made = kind.recipe(lock, where, say)
        yield made


def inside(target: Target) -> dict[str, str]:
    """Return what may be interpolated for a process in such an image."""
    offered: dict[str, str] = {}
    for kind, _ in _asked(target):
        offered |= kind.INSIDE
    return offered


def _asked(target: Target) -> Iterator[tuple[Kind, Path]]:
    for name, lock in target.environment.files() if target.environment else ():
        yield cast("Kind", import_module(f"{__name__}.{name}")), lock


@contextmanager
def _as_unavailable(target: Target) -> Iterator[str]:
    where = f"target {target.name}: environment"
    try:
        yield where
    except CacheError as error:
        raise UnavailableError(f"{where}: {error}") from None
