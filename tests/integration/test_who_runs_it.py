"""Whoever runs it, with whatever mask and home: a run is the same, or refused in a sentence."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.world.install.cache import STAMP, VARIABLE, cache_root
from tests.support.odd_project import run_short
from tests.support.program import Done, Running

LOSSMETER = str(Path(sys.executable).with_name("lossmeter"))
# No account has it, and what is installed here may lie in root's own folders.
NOBODY_KNOWN = 54_321
READS = "+dac_read_search"
WITHOUT_ACCOUNT = (
    *("setpriv", f"--reuid={NOBODY_KNOWN}", f"--regid={NOBODY_KNOWN}", "--clear-groups"),
    *(f"--inh-caps={READS}", f"--ambient-caps={READS}"),
)


def masked(mask: str, *more: str) -> tuple[str, ...]:
    return ("sh", "-c", f'umask {mask}; exec "$@"', "sh", *more)


@pytest.fixture
def servers() -> Iterator[Path]:
    """Return a cache of one's own that all may enter, with the servers that are there already."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        cache.chmod(0o755)
        for entry in cache_root().iterdir():
            if (entry / STAMP).is_file():
                (cache / entry.name).symlink_to(entry)
        yield cache


@pytest.mark.parametrize(
    "starting",
    [
        pytest.param(masked("077", "env", "-u", "HOME"), id="umask 077, no HOME"),
        pytest.param(masked("027", "env", "HOME=/proc/1"), id="umask 027, HOME closed"),
    ],
)
def test_a_run_passes_whoever_starts_it(
    tmp_path: Path, servers: Path, starting: tuple[str, ...]
) -> None:
    done = started(tmp_path, servers, starting)
    assert done.code == 0, done.out + done.err
    assert "Traceback" not in done.err


def test_who_has_no_account_is_told_before_anything_starts(tmp_path: Path, servers: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root becomes somebody else, by setpriv")
    os.chown(tmp_path, NOBODY_KNOWN, NOBODY_KNOWN)
    os.chown(servers, NOBODY_KNOWN, NOBODY_KNOWN)
    done = started(tmp_path, servers, (*WITHOUT_ACCOUNT, "env", "-u", "HOME"))
    assert (done.code, done.out) == (4, "")
    assert f"user id {NOBODY_KNOWN} has none in /etc/passwd" in done.err


def started(project: Path, servers: Path, starting: tuple[str, ...]) -> Done:
    """Make a short run in a project, by a command of one's own around it."""
    return Running(
        *run_short(project),
        command=(*starting, LOSSMETER),
        environment={VARIABLE: str(servers)},
        folder=project,
    ).end(150)
