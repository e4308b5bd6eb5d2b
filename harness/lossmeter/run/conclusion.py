"""The end of a run: what it recorded is sealed, then judged, also where the disk is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeAlias

from lossmeter.judge.verdict import Judged, judging, unjudged
from lossmeter.record.facts import Facts
from lossmeter.record.files import FULL, why
from lossmeter.record.manifest import seal
from lossmeter.record.result import Result

# Facts, manifest and result of a run need some 100 KiB; it is kept free for them.
ROOM = ".room"
ROOM_BYTES = 1 << 20
Show: TypeAlias = Callable[[Path, Judged], None]


def keep_room(folder: Path) -> None:
    """Take the room on the disk that the end of a run needs, before the load fills it."""
    with suppress(OSError):
        fd = os.open(folder / ROOM, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, ROOM_BYTES)
        finally:
            os.close(fd)


def no_room(error: BaseException, folder: Path) -> str | None:
    """Return what to say of an error that comes from a full disk; None for another one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            return f"the disk of {folder} is full: {why(seen)}; what was saved by then is there"
        seen = seen.__cause__ or seen.__context__
    return None


def no_room_beside(error: BaseException, folder: Path) -> str | None:
    """Return what to say of an error that is told while the disk is full; None while it is not.

    A process that met the full disk, such as a target that writes its log there, tells nothing
    but its end.
    """
    with suppress(OSError):
        disk = os.statvfs(folder)
        free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
        if disk.f_blocks and not free:
            return f"the disk of {folder} is full: {error}; what was saved by then is there"
    return None


def conclude(folder: Path, facts: Facts, show: Show | None = None) -> Result:
    """Save the facts, seal what was recorded, judge it and save the result.

    What cannot be written makes the result an error that says so; it is returned all the
    same, since the runs that follow do not depend on it. ``show`` gets the judgement while
    what it was made of is still open, so a page need not read and reconcile everything again.
    """
    with suppress(OSError):
        (folder / ROOM).unlink(missing_ok=True)
    timings_s = dict(facts.timings_s)
    with ExitStack() as stack:
        try:
            facts.sealed = True
            facts.save(folder)
            sealed = seal(folder, facts.run_id)
            judged = stack.enter_context(judging(folder, facts, timings_s, sealed))
            judged.result.save(folder)
        except OSError as error:
            problem = facts.problem or no_room(error, folder) or f"{folder}: {why(error)}"
            judged = Judged(unjudged(facts, problem))
            with suppress(OSError):
                judged.result.save(folder)
        if show is not None:
            show(folder, judged)
    return judged.result
