"""Folders of a run's servers, outside the run folder, and finding those of dead harnesses."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.cache import cache_root
from harness.errors import UnavailableError
from harness.ownership import Owner
from harness.runtimes._disks import unmount_below

NEEDED_BYTES = 500 * 2**20


def state_folder(owner: Owner, kind: str) -> Path:
    """Create the folder for the servers of one run.

    A server that steps down from root must be able to reach it, wherever the project lies.

    Raises:
        UnavailableError: there is too little room for a run.
    """
    root = _root(kind)
    root.mkdir(parents=True, exist_ok=True)
    check_room(root)
    # The name tells the owner, so even a harness killed right here leaves no riddle.
    folder = root / owner.folder_name
    folder.mkdir(mode=0o755)
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
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def remove_dead(kind: str) -> list[str]:
    """Remove the folders of harnesses that no longer run; return a line for each."""
    removed = []
    for folder in sorted(_root(kind).glob("*")):
        owner = Owner.of_folder(folder.name)
        if owner is None or owner.alive():
            continue
        removed += unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)
        left = folder.exists()
        removed.append(f"folder {folder.name}" + (" in part: it is not ours" if left else ""))
    return removed


def _root(kind: str) -> Path:
    return cache_root() / "state" / kind
