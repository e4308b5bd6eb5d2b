"""Disks of their own for servers, that can lose power: ext4 on a loop device.

At a cut the file system is shut down without flushing its log, unmounted, and later mounted
again: what was not fsynced is gone, what was is there. See ``EXT4_IOC_SHUTDOWN`` in the
kernel's ``fs/ext4/ioctl.c``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lossmeter.errors import FaultError, UnavailableError
from lossmeter.world import programs
from lossmeter.world.site import Disk, Room

SIZE_MIB = 512
SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING_THE_LOG = 2
STATUS = Path("/proc/self/status")
LOOP_CONTROL = Path("/dev/loop-control")
CAP_SYS_ADMIN = 21
PROGRAMS = ("mkfs.ext4", "mount", "umount", "sync")
COMMAND_S = 30
BALLAST = ".ballast"
LARGEST_STEP, SMALLEST_STEP = 64 * 2**20, 4096
FREE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table."""

    point: Path
    kind: str
    device: str
    options: frozenset[str]


class LoopDisk:
    """One disk, mounted at once.

    Args:
        image: the file that holds it; made here.
        point: where it is mounted; made here.
    """

    def __init__(self, image: Path, point: Path) -> None:
        self.point = point
        self._image = image
        image.parent.mkdir(exist_ok=True)
        with image.open("xb") as file:
            file.truncate(SIZE_MIB * 2**20)
        _command("mkfs.ext4", "-q", "-F", str(image))
        point.mkdir(mode=0o700)
        self._mount()
        (point / "lost+found").rmdir()

    def look(self) -> Disk:
        """Say what is mounted there, and whether it takes a write."""
        found = mounted_at(self.point)
        if found is None or found.kind != "ext4":
            return Disk("", False, "no disk is mounted there")
        return Disk(found.device, "shutdown" in found.options, self._refused())

    def _refused(self) -> str:
        trial = self.point / ".trial"
        try:
            fd = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(fd, b"x")
                os.fsync(fd)
            finally:
                os.close(fd)
            trial.unlink()
        except OSError as error:
            return error.strerror or type(error).__name__
        return ""

    def room(self) -> Room:
        """Say how much room there is, and whether it takes a write."""
        seen = os.statvfs(self.point)
        return Room(seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize, self._refused())

    def fill(self) -> None:
        """Take all room, what is kept for root included.

        Raises:
            FaultError: it is not mounted, or something else but its end stopped it.
        """
        if not self.look().device:
            raise FaultError(f"nothing is mounted on {self.point}, so no disk can be filled there")
        fd = os.open(self.point / BALLAST, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            taken, step = 0, LARGEST_STEP
            # Large pieces first, then what is left between them.
            while step >= SMALLEST_STEP:
                try:
                    os.posix_fallocate(fd, taken, step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise FaultError(f"{self.point} cannot be filled: {error}") from None
                    step //= 2
                else:
                    taken += step
            os.fsync(fd)
        finally:
            os.close(fd)

    def clear(self) -> None:
        """Give the room back."""
        (self.point / BALLAST).unlink(missing_ok=True)
        # Blocks are free again when the file system's log says so.
        self.flush()

    def flush(self) -> None:
        """Write everything out: what is there before the load begins is not at stake."""
        _command("sync", "--file-system", str(self.point))

    def cut(self) -> None:
        """Shut the file system down without flushing anything.

        Raises:
            FaultError: it is not mounted, or the kernel does not shut it down.
        """
        if not self.look().device:
            raise FaultError(f"nothing is mounted on {self.point}, so no power can be cut there")
        fd = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING_THE_LOG))
        except OSError as error:
            raise FaultError(f"{self.point} cannot be shut down: {error.strerror}") from None
        finally:
            os.close(fd)

    def restore(self) -> None:
        """Mount it again; its log is played back by that."""
        now = self.look()
        if now.device and not now.refused:
            return
        if now.device:
            self._unmount()
        self._mount()

    def close(self) -> None:
        """Unmount it and remove its file."""
        unmount_below(self.point)
        self._image.unlink(missing_ok=True)

    def _mount(self) -> None:
        # The loop device is let go of with the mount, whoever unmounts it.
        _command("mount", "-t", "ext4", "-o", "loop", str(self._image), str(self.point))
        if mounted_at(self.point) is None:
            raise FaultError(f"mount said nothing, and nothing is mounted on {self.point}")

    def _unmount(self) -> None:
        deadline = time.monotonic() + FREE_WITHIN_S
        while True:
            try:
                _command("umount", str(self.point))
            except FaultError:
                if time.monotonic() > deadline:
                    raise
            else:
                break
            time.sleep(0.02)
        # Two mounts of one file system at once would destroy it.
        while self._attached():
            if time.monotonic() > deadline:
                raise FaultError(f"something still uses the disk {self._image}")
            time.sleep(0.02)

    def _attached(self) -> bool:
        """Return whether a loop device still serves the file."""
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with suppress(OSError):
                if backing.read_bytes().rstrip(b"\n") == os.fsencode(self._image):
                    return True
        return False


class Disks:
    """The half of a site that looks after the disks of its servers.

    Args:
        disks: of the servers that have one of their own in this run, by their names.
    """

    def __init__(self, disks: dict[str, LoopDisk]) -> None:
        self.disks = disks

    def disk(self, server: str) -> Disk:
        """Look at the disk that a server's data is on, as this machine sees it."""
        return self.disk_of(server).look()

    def restore_power(self, server: str) -> None:
        """Mount the disk again; the server finds it when it is started."""
        self.disk_of(server).restore()

    def room(self, server: str) -> Room:
        """Look at the room on a server's disk."""
        return self.disk_of(server).room()

    def fill_disk(self, server: str) -> None:
        """Take all room that is left on a server's disk."""
        self.disk_of(server).fill()

    def clear_disk(self, server: str) -> None:
        """Give it back."""
        if server in self.disks:
            self.disks[server].clear()

    def disk_of(self, server: str) -> LoopDisk:
        """Return a server's disk.

        Raises:
            FaultError: it has none of its own.
        """
        if server not in self.disks:
            raise FaultError(f"server {server} has no disk of its own in this run")
        return self.disks[server]


def mounts(pid: int | str = "self") -> Iterator[Mount]:
    """Yield the mount table as a process sees it; see ``proc_pid_mountinfo(5)``."""
    # Bytes: a mount point need not be UTF-8, and only "\\n" ends a line.
    text = os.fsdecode(Path(f"/proc/{pid}/mountinfo").read_bytes())
    for line in text.rstrip("\n").split("\n"):
        before, _, after = line.partition(" - ")
        point, own = before.split(" ")[4:6]
        kind, device, options = after.split(" ")[:3]
        words = frozenset(own.split(",")) | frozenset(options.split(","))
        yield Mount(Path(_unescaped(point)), kind, device, words)


def _unescaped(field: str) -> str:
    """Return a field of the mount table as it was before a space in it became an octal escape."""
    raw = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), os.fsencode(field))
    return os.fsdecode(raw)


def mounted_at(point: Path, pid: int | str = "self") -> Mount | None:
    """Return what is mounted exactly there, the topmost."""
    return next((m for m in reversed(list(mounts(pid))) if m.point == point), None)


def unmount_below(folder: Path) -> list[str]:
    """Unmount whatever is mounted on a folder or below it; return a line for each."""
    points = [m.point for m in mounts() if m.point == folder or folder in m.point.parents]
    for point in reversed(points):
        try:
            _command("umount", str(point))
        except FaultError:
            # Somebody still has a file open there; it goes when they do.
            _command("umount", "--lazy", str(point))
    return [f"mount {point}" for point in points]


@cache
def unavailable() -> str | None:
    """Return why no such disk can be had here, or None."""
    if os.geteuid() != 0:
        return "only root may mount disks"
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"there is no {program} here"
    if not LOOP_CONTROL.exists():
        return f"there is no {LOOP_CONTROL}"
    if not _capabilities() >> CAP_SYS_ADMIN & 1:
        return "this root may not mount disks"
    return None


def _capabilities() -> int:
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def _command(*argv: str) -> None:
    try:
        programs.run(argv, COMMAND_S).checked(FaultError)
    except OSError as error:
        raise UnavailableError(f"{argv[0]} cannot be run: {error.strerror}") from None
