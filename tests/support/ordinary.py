"""Commands as an ordinary user runs them: tests mostly run as root, to whom no file is closed."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.program import COMMAND, Done, Running

NAME = "nobody"
# An interpreter below root's own home is shown to others where it lies, and nothing else of that.
_SHOWN = """
exec 9<"$2"
mount -t tmpfs -o mode=755 none "$1"
mkdir -p "$2"
mount --no-canonicalize --bind /proc/self/fd/9 "$2"
exec 9<&-
shift 2
exec "$@"
"""


def _prefix() -> tuple[str, ...]:
    """Return what makes a command another user's; nothing where this one is no root."""
    if os.geteuid() != 0:
        return ()
    entry, base = pwd.getpwnam(NAME), Path(sys.base_prefix)
    closed = [each for each in reversed(base.parents) if not each.stat().st_mode & stat.S_IXOTH]
    shown = ("unshare", "--mount", "sh", "-c", _SHOWN, "sh", str(closed[0]), str(base))
    return (
        *(shown if closed else ()),
        *("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"),
        *("--inh-caps=-all", "--bounding-set=-all", "env", "HOME=/nonexistent"),
    )


def check() -> None:
    """Skip where nobody else can be had, or what is installed is closed to others."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("only root becomes somebody else, by setpriv")
    trial = (*_prefix(), sys.executable, "-c", "import lossmeter.cli")
    if subprocess.run(trial, check=False, capture_output=True, cwd="/").returncode != 0:
        pytest.skip("what is installed here is root's alone")


@contextmanager
def own_folder() -> Iterator[Path]:
    """Give a folder that the ordinary user reaches; ``give`` makes what is in it theirs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            folder.chmod(0o755)
            give(folder)
            yield folder
        finally:
            for path in (folder, *folder.rglob("*")):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)


def give(folder: Path) -> None:
    """Make a folder with all that is in it the ordinary user's."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(NAME)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def lossmeter(folder: Path, *arguments: str, **environment: str) -> Done:
    """Run a command in a folder to its end."""
    # What has no home is kept beside the temporary files.
    more = {"TMPDIR": str(folder), **environment}
    command = (*_prefix(), *COMMAND)
    return Running(*arguments, command=command, environment=more, folder=folder).end(60)
