"""The cache of servers: each is built once, appears whole or not at all, and is then shared.

Layout below ``cache_root()``::

    postgres-18.6.3/           a finished entry: the folder that a build filled
        .complete              the stamp, written last
    .postgres-18.6.3~x7f2/     a build under way, or what is left of one that died
    .locks/postgres-18.6.3     held while that entry is built
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lossmeter.errors import CacheError

VARIABLE = "LOSSMETER_CACHE"
STAMP = ".complete"
_ROOT_CACHE = Path("/var/cache/lossmeter")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_EVERYBODY_READS = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_EVERYBODY_ENTERS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def cache_root() -> Path:
    """Return the folder of the cache, which need not exist yet.

    ``$LOSSMETER_CACHE``; else for root a system folder, since root's home is usually closed
    to the unprivileged user that PostgreSQL runs as; else the user's cache folder, or a
    private one beside the temporary files when the home cannot be written.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return _ROOT_CACHE
    home = _user_cache()
    if home is not None and _can_be_made(home):
        return home
    return _fallback()


def state_root() -> Path:
    """Return the folder for what runs need while they last, which need not exist yet.

    It is in the cache; beside the temporary files where the cache is full of servers and
    belongs to somebody else, as one that is shared and only read does.
    """
    inside = cache_root() / "state"
    return inside if _can_be_made(inside) else _fallback() / "state"


def entry(name: str, version: str, build: Callable[[Path], None], *, needs_mib: int = 0) -> Path:
    """Return the folder of a finished entry, building it first where it is missing.

    Raises:
        CacheError: there is no room, the cache cannot be written, or the build failed.
    """
    done = find(name, version)
    if done is not None:
        return done
    root = cache_root()
    with _as_cache_errors(f"{name} {version}", root):
        _make_root(root)
        with _locked(root, f"{name}-{version}"):
            # Another process may have built it while this one waited.
            return find(name, version) or _build(root, f"{name}-{version}", build, needs_mib)


def find(name: str, version: str) -> Path | None:
    """Return the folder of a finished entry, or None; fast enough to be asked every time."""
    folder = cache_root() / _checked(f"{name}-{version}")
    return folder if _exists(folder / STAMP) else None


def discard(name: str, versions: str, keep: Path) -> None:
    """Remove finished entries that ``keep`` replaced; ``versions`` is a pattern of names."""
    for old in cache_root().glob(f"{name}-{versions}"):
        if old != keep:
            shutil.rmtree(old, ignore_errors=True)


def closed_to(server: str) -> str | None:
    """Return why a server that root starts as another user would not find its files, or None."""
    closed = closed_to_others(cache_root()) if os.geteuid() == 0 else None
    if closed is None:
        return None
    return (
        f"root starts {server} as another user, and other users cannot enter {closed}; "
        f"name another folder in {VARIABLE}, or run as an ordinary user"
    )


def closed_to_others(folder: Path) -> Path | None:
    """Return the outermost folder on the way to ``folder`` that others cannot enter."""
    way = [*reversed(folder.absolute().parents), folder]
    closed = (p for p in way if _exists(p) and not p.stat().st_mode & stat.S_IXOTH)
    return next(closed, None)


def _user_cache() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    if Path(base).is_absolute():
        return Path(base) / "lossmeter"
    try:
        return Path.home() / ".cache" / "lossmeter"
    except RuntimeError:
        return None


def _fallback() -> Path:
    return Path(tempfile.gettempdir()) / f"lossmeter-{os.geteuid()}"


def _can_be_made(folder: Path) -> bool:
    existing = next(p for p in (folder, *folder.parents) if _exists(p))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        # It lies in a folder that we may not enter, so for us there is nothing.
        return False


def _make_root(root: Path) -> None:
    make_open(root / ".locks")
    check_own(root)


def check_own(folder: Path) -> None:
    """Make sure that a folder among the temporary files, where anybody makes some, is ours.

    Raises:
        CacheError: it is not.
    """
    fallback = _fallback()
    if folder.is_relative_to(fallback) and fallback.lstat().st_uid != os.geteuid():
        raise CacheError(
            f"{fallback} belongs to another user, so what is in it cannot be trusted; "
            f"name a folder of your own in {VARIABLE}"
        )


def make_open(folder: Path) -> None:
    """Create a folder, with all above it, that everybody may enter, whatever the umask."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(exist_ok=True)
            each.chmod(0o755)


def remove_unfinished() -> list[str]:
    """Remove what a build that was killed has left; return a line for each.

    What is being built holds its lock, and stays.
    """
    removed = []
    for left in sorted(cache_root().glob(".*~*")):
        key = left.name[1:].rpartition("~")[0]
        with suppress(OSError), (cache_root() / ".locks" / key).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
            in_part = " in part: it is not ours" if left.exists() else ""
            removed.append(f"half-made {key} in the cache{in_part}")
    return removed


@contextmanager
def _locked(root: Path, key: str) -> Iterator[None]:
    # The file stays: removing it would let two processes lock two files of one name.
    with (root / ".locks" / key).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(root: Path, key: str, build: Callable[[Path], None], needs_mib: int) -> Path:
    target = root / key
    # Under the lock, whatever is unfinished belongs to a process that died.
    for leftover in (target, *root.glob(f".{key}~*")):
        shutil.rmtree(leftover, ignore_errors=True)
    _check_room(root, key, needs_mib)
    partial = Path(tempfile.mkdtemp(prefix=f".{key}~", dir=root))
    try:
        build(partial)
        (partial / STAMP).touch()
        _open_to_everybody(partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _check_room(root: Path, key: str, needs_mib: int) -> None:
    free_mib = shutil.disk_usage(root).free // 2**20
    if free_mib < needs_mib:
        raise CacheError(
            f"{root} has {free_mib} MiB free, and {key} needs {needs_mib} MiB to be installed; "
            f"free some, or name another folder in {VARIABLE}"
        )


def _open_to_everybody(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode) | _EVERYBODY_READS
        if path.is_dir() or mode & stat.S_IXUSR:
            mode |= _EVERYBODY_ENTERS
        path.chmod(mode)


@contextmanager
def _as_cache_errors(what: str, root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = f"name another folder in {VARIABLE}"
        if error.errno in _FULL:
            sentence = f"the disk of {root} became full while {what} was installed; "
            raise CacheError(f"{sentence}free some, or {hint}") from error
        if error.errno in _CLOSED:
            where = error.filename or root
            raise CacheError(
                f"{what} cannot be installed, since {where} cannot be written; {hint}"
            ) from error
        raise CacheError(f"{what} could not be installed in {root}: {error}") from error


def _checked(key: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", key):
        raise CacheError(f"{key!r} cannot name a cache entry; use letters, digits and ._+- only")
    return key
