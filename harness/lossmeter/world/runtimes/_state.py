"""Folders of a run's servers, outside the run folder, and finding those of dead harnesses."""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.record.files import files_below
from lossmeter.world.install.cache import check_own, make_open, state_root
from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes._disks import unmount_below

NEEDED_BYTES = 500 * 2**20
# PostgreSQL writes into it, in its seventh line, the key and the id of its System V segment.
_POSTMASTER = "postmaster.pid"
_IPC_RMID = 0
_SEGMENTS = Path("/proc/sysvipc/shm")


def state_folder(owner: Owner, kind: str) -> Path:
    """Create the folder for the servers of one run.

    A server that steps down from root must be able to reach it, wherever the project lies.

    Raises:
        UnavailableError: there is too little room for a run.
        CacheError: the folder belongs to another user.
    """
    root = _root(kind)
    make_open(root)
    check_own(root)
    # They may stem from a run under another umask.
    for each in (root.parent, root):
        if each.stat().st_uid == os.geteuid():
            each.chmod(0o755)
    check_room(root)
    # The name tells the owner, so even a harness killed right here leaves no riddle.
    folder = root / owner.folder_name
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def check_room(folder: Path) -> None:
    """Make sure that a run finds room for what its servers write.

    Raises:
        UnavailableError: there is too little.
    """
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise UnavailableError(
            f"{folder} has {free // 2**20} MiB free, and a run needs {NEEDED_BYTES // 2**20} MiB; "
            "free some, or name another place in LOSSMETER_CACHE"
        )


def remove_state(folder: Path) -> None:
    """Remove the folder of servers that have ended."""
    _remove_segments(folder)
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def remove_dead(kind: str) -> list[str]:
    """Remove the folders of harnesses that no longer run; return a line for each."""
    removed = []
    for folder in sorted(_root(kind).glob("*")):
        owner = Owner.of_folder(folder.name)
        if owner is None or owner.alive():
            continue
        removed += _remove_segments(folder)
        removed += unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)
        left = folder.exists()
        removed.append(f"folder {folder.name}" + (" in part: it is not ours" if left else ""))
    return removed


def _remove_segments(folder: Path) -> list[str]:
    """Remove the System V segments of servers that were killed: the kernel would keep them."""
    removed = []
    for file in files_below(folder, _POSTMASTER):
        with suppress(OSError, ValueError, IndexError):
            key, segment = file.read_text(encoding="ascii").splitlines()[6].split()
            if _unused(key, segment):
                ctypes.CDLL(None).shmctl(int(segment), _IPC_RMID, None)
                removed.append(f"shared memory {segment}")
    return removed


def _unused(key: str, segment: str) -> bool:
    """Return whether there is such a segment, and no process is attached to it."""
    lines = [line.split() for line in _SEGMENTS.read_text(encoding="ascii").splitlines()[1:]]
    return any((each[0], each[1], each[6]) == (key, segment, "0") for each in lines)


def _root(kind: str) -> Path:
    return state_root() / kind
