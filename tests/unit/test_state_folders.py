"""What servers of dead harnesses leave outside their folders goes with them."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.record.files import files_below
from lossmeter.world.install.cache import VARIABLE
from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes._state import remove_dead, remove_state

CREATE, EXCLUSIVELY, OURS_ALONE = 0o1000, 0o2000, 0o600
REMOVE = 0
LIBC = ctypes.CDLL(None)
LIBC.shmat.restype = ctypes.c_void_p
LIBC.shmdt.argtypes = [ctypes.c_void_p]
# The owner is of another boot of this machine, so it does not run.
DEAD = Owner("20260101T000000Z-crash-1", 1, 1, "another-boot.1")


class Segment:
    """A System V segment, as a killed PostgreSQL leaves it, and the file that names it."""

    def __init__(self, key: int, folder: Path) -> None:
        mode = CREATE | EXCLUSIVELY | OURS_ALONE
        self.number = LIBC.shmget(key, 64, mode)
        assert self.number >= 0
        folder.mkdir(parents=True)
        lines = [1, folder, 0, 5432, "", "127.0.0.1", f"{key:>9} {self.number:>9}", "ready"]
        (folder / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))

    @property
    def there(self) -> bool:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return any(line.split()[1] == str(self.number) for line in lines)

    def close(self) -> None:
        LIBC.shmctl(self.number, REMOVE, None)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path / "state" / "local" / DEAD.folder_name


@pytest.fixture
def segment(state: Path) -> Iterator[Segment]:
    made = Segment(0x10551E7E, state / "postgres" / "data")
    yield made
    made.close()


def test_the_segment_of_a_killed_postgresql_goes_with_its_folder(
    state: Path, segment: Segment
) -> None:
    said = remove_dead("local")
    assert f"shared memory {segment.number}" in said
    assert not segment.there
    assert not state.exists()


def test_so_does_that_of_a_server_killed_in_a_run(state: Path, segment: Segment) -> None:
    remove_state(state)
    assert not segment.there


def test_a_segment_that_somebody_uses_stays(state: Path, segment: Segment) -> None:
    address = LIBC.shmat(segment.number, None, 0)
    try:
        remove_state(state)
        assert segment.there
    finally:
        LIBC.shmdt(address)


def test_a_segment_that_the_file_does_not_name_with_its_key_stays(
    state: Path, segment: Segment
) -> None:
    (state / "postgres" / "data" / "postmaster.pid").write_text(
        "1\nx\n0\n5432\n\n127.0.0.1\n" + f"7 {segment.number}\n"
    )
    remove_state(state)
    assert segment.there


def test_a_folder_that_somebody_else_removes_meanwhile_has_no_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / "postmaster.pid").touch()
    found = files_below(tmp_path, "postmaster.pid")
    next(found)
    for name in ("a", "b", "c"):
        shutil.rmtree(tmp_path / name)
    assert list(found) == []
    assert list(files_below(tmp_path / "gone")) == []
