"""Files of runs and reports: opened without trusting what lies there, written at once.

A run folder, and the folder in it that the target may write into, can hold anything: a FIFO
that never ends, a device, a link to elsewhere, a file without end. Whatever is read from
there is opened by ``open_regular``; whatever is written there goes through ``replacing``.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from lossmeter.model import plural

# Texts (JSON, logs, TOML) are read whole, so they must fit into memory; arrays are not.
MOST_BYTES = 1 << 28
_PIECE_BYTES = 1 << 20
# What a write says of a disk, a quota or a limit that leaves no room.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_KEPT_BYTES = 200
# How long a FIFO given as an output may wait for its reader.
READER_WITHIN_S = 5.0
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind(mode: int) -> str:
    """Return what a mode of ``stat`` stands for, e.g. ``a FIFO``."""
    return next((word for is_kind, word in _KINDS if is_kind(mode)), "a regular file")


def why(error: OSError) -> str:
    """Return what an error of the system says, without its number."""
    return error.strerror or type(error).__name__


def open_fd(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file, for reading; never waits, and follows no link at its end.

    Raises:
        OSError: it cannot be read, or is anything but a regular file.
    """
    careful = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | careful, 0o666)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise _not_regular(path, path.lstat().st_mode) from None
        raise
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise _not_regular(path, mode)
    return fd


def _not_regular(path: Path, mode: int) -> OSError:
    return OSError(errno.EINVAL, f"is {kind(mode)}, not a regular file", str(path))


def append(path: Path, data: bytes) -> None:
    """Add to the end of a regular file, made where there is none, and flush it to the disk.

    Raises:
        OSError: it cannot be written, or is anything but a regular file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with os.fdopen(open_fd(path, flags), "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def open_regular(path: Path) -> BinaryIO:
    """Return the same, as a file."""
    return os.fdopen(open_fd(path), "rb")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds.

    Raises:
        OSError: as ``open_fd``, or it is longer than ``most`` bytes.
    """
    data = bytearray()
    with open_regular(path) as file:
        # A read of so many bytes asks for the room of all of them, however short the file is.
        while piece := file.read(min(_PIECE_BYTES, most + 1 - len(data))):
            data += piece
    if len(data) > most:
        raise OSError(errno.EFBIG, f"is longer than {plural(most, 'byte')}", str(path))
    return bytes(data)


def read_text(path: Path) -> str:
    """Return the same as text; what is no UTF-8 is replaced, as in a log."""
    return read_bytes(path).decode("utf-8", "replace")


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Return the entries of a folder that match, by name; none where it is no folder.

    A link in the folder's place is not followed.
    """
    try:
        if folder.is_symlink():
            return []
        return sorted(path for path in folder.iterdir() if fnmatchcase(path.name, pattern))
    except OSError:
        return []


def files_below(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """Yield the files below a folder that match; any of them may come and go meanwhile."""
    # Path.rglob raises where a folder has gone since its parent was read.
    for at, _, names in os.walk(folder):
        yield from (Path(at, name) for name in names if fnmatchcase(name, pattern))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file at once: a reader sees what was there before, or all of the new one.

    Whatever has the file's name is replaced, not opened. After an error nothing is changed.

    Raises:
        OSError: it cannot be written.
    """
    # The longest name that a file may have leaves no room for more of it.
    name = os.fsdecode(os.fsencode(path.name)[:_KEPT_BYTES])
    partial = path.with_name(f".{name}.{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(partial, flags, 0o666), "wb") as file:
            yield file
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            # The system names no file where it is the disk that has no room.
            error.filename = str(path)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file at once; raises as ``replacing`` does."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 at once; half a surrogate, e.g. from a log, must not cost it."""
    write_bytes(path, text.encode("utf-8", "replace"))


# What a caller names as an output: a file, or what the shell put in its place.


def check_output(path: Path) -> str | None:
    """Return why nothing can be written to a path; None where it can be."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = 0
    except OSError as error:
        return why(error)
    if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        return f"it is {kind(mode)}"
    if mode and (not stat.S_ISREG(mode) or path.is_symlink()):
        there = path.exists() and not os.access(path, os.W_OK)
        return os.strerror(errno.EACCES) if there else None
    try:
        # A link to what is not there yet makes it where the link leads to.
        with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
            pass
    except OSError as error:
        # In a folder that takes no new file, one that is there may still be written.
        return None if mode and os.access(path, os.W_OK) else why(error)
    return None


def write_output(path: Path, text: str) -> None:
    """Write what a caller asked for: a regular file at once, anything else through what it is.

    A device, a FIFO or a link stays what it is.

    Raises:
        OSError: it cannot be written.
    """
    data = text.encode("utf-8", "replace")
    plain = not path.is_symlink() and (not path.exists() or path.is_file())
    if plain and (not path.exists() or os.access(path.parent, os.W_OK)):
        write_bytes(path, data)
        return
    with os.fdopen(_open_output(path), "wb") as file:
        file.write(data)


def append_output(path: Path, text: str) -> None:
    """Add to the end of what a caller named; raises as ``write_output`` does."""
    with os.fdopen(_open_output(path, os.O_APPEND), "wb") as file:
        file.write(text.encode("utf-8", "replace"))


def _open_output(path: Path, how: int = os.O_TRUNC) -> int:
    """Open what is there for writing; standard output is the one that is open already."""
    with suppress(OSError):
        there = path.stat()
        for fd in (1, 2):
            if os.path.samestat(there, os.fstat(fd)):
                return os.dup(fd)
    deadline = time.monotonic() + READER_WITHIN_S
    flags = os.O_WRONLY | how | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    # To create what is there is refused for a FIFO in a folder like /tmp.
    flags |= 0 if path.exists() else os.O_CREAT
    while True:
        try:
            fd = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() >= deadline:
                raise OSError(errno.ENXIO, "nobody reads from it", str(path)) from None
            time.sleep(0.05)
        else:
            os.set_blocking(fd, True)
            return fd
