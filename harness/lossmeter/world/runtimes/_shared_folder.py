"""The folder of a run that its target may write into, and nobody else."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

SET_ID = stat.S_ISUID | stat.S_ISGID
PRIVATE, FOR_ALL, AFTERWARDS = 0o700, 0o1777, 0o755


class SharedFolder:
    """Made at once, for the harness's own user alone.

    Args:
        run: the run's folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / "target"
        self._run = run
        self._mode = stat.S_IMODE(run.stat().st_mode)
        self.path.mkdir(mode=PRIVATE, exist_ok=True)
        self._users: set[int | None] = set()

    def give_to(self, user: int | None) -> None:
        """Let a user write into it; with None those who the target is in its container.

        Processes with images of their own may be several users, who all write then. Where that
        cannot be known beforehand, the run's folder lets nobody through meanwhile: a container
        has the inner one as a mount of its own.
        """
        self._users.add(user)
        alone = len(self._users) == 1
        if user is not None and alone and (user == os.geteuid() or os.geteuid() == 0):
            os.chown(self.path, user, -1)
            return
        self._run.chmod(PRIVATE)
        self.path.chmod(FOR_ALL)

    def close(self) -> None:
        """Keep what was written from gaining rights on this machine, and let it be read.

        The target must be gone: in a container it may have been root, whose programs with the
        set-user-id bit are root's here too. Where this user may not take it from them, or not
        look for them, nobody else is let in.
        """
        unseen: list[OSError] = []
        harmless = True
        for inner, folders, files in os.walk(self.path, onerror=unseen.append):
            for name in (*folders, *files):
                harmless &= _without_set_id(Path(inner, name))
        after = AFTERWARDS & self._mode | PRIVATE if harmless and not unseen else PRIVATE
        with suppress(PermissionError):
            self.path.chmod(after)
        self._run.chmod(self._mode)


def _without_set_id(path: Path) -> bool:
    """Take the bits from a file or folder, and return whether it has none; follows no link."""
    try:
        mode = path.lstat().st_mode
        if not mode & SET_ID or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return True
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode) & ~SET_ID)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True
