"""What a target leaves in the folder that it may write into gives nobody its rights."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lossmeter.world.runtimes._shared_folder import AFTERWARDS, SharedFolder

NOBODY = 65534
SET_USER, SET_GROUP = 0o4755, 0o2755


@pytest.fixture
def run() -> Iterator[Path]:
    """A run's folder, where every user may come to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("bits", [SET_USER, SET_GROUP])
def test_programs_of_the_target_lose_what_would_lend_its_rights(run: Path, bits: int) -> None:
    shared = SharedFolder(run)
    inner = shared.path / "inner"
    inner.mkdir()
    program, link = inner / "program", shared.path / "link"
    program.touch()
    program.chmod(bits)
    elsewhere = run / "elsewhere"
    elsewhere.touch()
    elsewhere.chmod(bits)
    link.symlink_to(elsewhere)
    inner.chmod(0o2755)
    shared.close()
    assert (mode(program), mode(inner)) == (0o755, 0o755)
    assert mode(elsewhere) == bits
    assert mode(shared.path) == AFTERWARDS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what belongs to root")
@pytest.mark.parametrize("hidden", [False, True])
def test_what_another_user_left_armed_is_reached_by_nobody_else(run: Path, hidden: bool) -> None:
    """A container's root leaves root's files to a harness that may not change them."""
    os.chown(run, NOBODY, NOBODY)
    with as_nobody():
        SharedFolder(run).close()
    folder = run / "target"
    assert mode(folder) == AFTERWARDS, "with nothing in it, everybody may look"
    inner = folder / "inner"
    inner.mkdir()
    program = inner / "program"
    program.touch()
    program.chmod(SET_USER)
    # Whoever knows the name needs no right to list.
    inner.chmod(0o711 if hidden else 0o755)
    with as_nobody():
        SharedFolder(run).close()
    assert mode(program) == SET_USER
    assert mode(folder) & 0o077 == 0
