"""Folders for a while, which ``recover`` finds and removes after a SIGKILL.

Among the temporary files nobody would: there a name does not tell whose a folder is, nor
whether its owner still runs.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lossmeter.world.install.cache import check_own, make_open, state_root
from lossmeter.world.ownership import Owner

# Of the folders for what runs need while they last, the one for these.
KIND = "scratch"


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """Make a private folder and remove it at the end of the ``with``.

    Args:
        what: it is for, as a line of ``recover`` calls it.

    Raises:
        CacheError: the place for it belongs to another user.
        OSError: it cannot be made.
    """
    root = state_root() / KIND
    make_open(root)
    check_own(root)
    folder = root / Owner.this_process(f"{what}-{secrets.token_hex(4)}").folder_name
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
