"""Small things that the servers have in common: private files and open ports."""

from __future__ import annotations

import os
import socket
from pathlib import Path

IMAGES = Path(__file__).with_name("images")


def write_private(path: Path, text: str) -> None:
    """Write a file that only the owner of its folder can read."""
    owner = path.parent.stat()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(text)


def write_for_container(path: Path, text: str) -> None:
    """Write a file that a container's user may read; on this machine its folder is closed."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def accepts(host: str, port: int) -> bool:
    """Return whether anything accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
