"""Whatever a target's processes do to hide, they are found, and nobody else's are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.world import ownership
from lossmeter.world.ownership import Owner, start_ticks
from lossmeter.world.process_table import printable, process_table
from lossmeter.world.runtimes import _cgroups
from lossmeter.world.runtimes._family import Family, end_dead
from lossmeter.world.runtimes._processes import Child, helper_child
from tests.support import hiding

SCRIPT = Path(hiding.__file__)
# What a harness does that has no control groups: only its own record and its orphans.
HARNESS = """
import sys, time
from pathlib import Path
from lossmeter.world import ownership
from lossmeter.world.runtimes import _cgroups
from lossmeter.world.runtimes._family import Family
from lossmeter.world.runtimes._processes import helper_child
script, folder, fate = sys.argv[1:]
ownership.is_program()
_cgroups.containing = lambda: False
family = Family(ownership.Owner.this_process("hidden.target"))
argv = [sys.executable, script, folder + "/pids"]
child = family.start(lambda: helper_child(family.owner, Path(folder), "target", argv, {}))
deadline = time.monotonic() + 10
pids = Path(folder, "pids")
while not pids.exists() or len(pids.read_text().splitlines()) < 4:
    assert time.monotonic() < deadline
    time.sleep(0.02)
family.processes()
if fate == "killed":
    print("ready", flush=True)
    time.sleep(600)
if fate == "main-first":
    child.kill()
family.close()
"""

# All is hidden by the time that the main process is put into its group.
EARLY = """
import sys, time
from pathlib import Path
from lossmeter.world import ownership
from lossmeter.world.runtimes._family import Family
from lossmeter.world.runtimes._processes import helper_child
script, folder = sys.argv[1:]
ownership.is_program()
family = Family(ownership.Owner.this_process("early.target"))
pids = Path(folder, "pids")
def make():
    argv = [sys.executable, script, str(pids)]
    child = helper_child(family.owner, Path(folder), "target", argv, {})
    deadline = time.monotonic() + 10
    while not pids.exists() or len(pids.read_text().splitlines()) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # The daemon has overwritten its environment by then.
    time.sleep(0.3)
    return child
child = family.start(make)
print(*sorted(family.group.members()), flush=True)
child.kill()
family.close()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that only looks like one of a target."""
    process = subprocess.Popen([sys.executable, "-c", hiding.SLEEP], env={}, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def hidden(folder: Path, count: int = len(hiding.WAYS)) -> dict[str, int]:
    """Wait until the target has hidden what it hides; return the process ids by the way."""
    file, deadline = folder / "pids", time.monotonic() + 10
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, "the target did not come so far"
        time.sleep(0.02)
    return {way: int(pid) for pid, way in map(str.split, file.read_text().splitlines())}


def target(family: Family, folder: Path, **environment: str) -> Child:
    argv = [sys.executable, str(SCRIPT), str(folder / "pids")]
    return family.start(lambda: helper_child(family.owner, folder, "target", argv, environment))


def running(pids: dict[str, int]) -> list[str]:
    return [way for way, pid in pids.items() if start_ticks(pid)]


@pytest.mark.skipif(not _cgroups.containing(), reason="control groups are root's")
def test_a_control_group_holds_all_that_a_target_forks(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    family = Family(Owner.this_process("grouped.target"))
    # Not before it is in its group: a suite keeps no orphans by which to find a daemon then.
    go = tmp_path / "go"
    child = target(family, tmp_path, FORKING="1", GO=str(go))
    go.touch()
    pids = hidden(tmp_path, 5)
    child.kill()
    assert set(running(pids)) >= set(hiding.WAYS)
    assert {pids[way] for way in hiding.WAYS} <= {each.pid for each in family.processes()}
    assert len(family.close()) >= 5
    assert running(pids) == []
    assert stranger.poll() is None
    assert not family.group or not family.group.members()
    # What forks on and on under new ids is gone as well.
    assert not [each for each in process_table().values() if _is(each.pid, tmp_path)]


@pytest.mark.skipif(not _cgroups.containing(), reason="control groups are root's")
def test_what_was_forked_before_the_group_was_joined_is_in_it_too(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY, str(SCRIPT), str(tmp_path)],
        check=True,
        timeout=60,
        capture_output=True,
    )
    pids = hidden(tmp_path)
    assert set(pids.values()) <= set(map(int, done.stdout.split()))
    assert running(pids) == []
    assert stranger.poll() is None


def _is(pid: int, folder: Path) -> bool:
    try:
        return os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("fate", ["closed", "main-first"])
def test_without_control_groups_orphans_fall_to_the_harness(
    tmp_path: Path, stranger: subprocess.Popen[bytes], fate: str
) -> None:
    subprocess.run(
        [sys.executable, "-c", HARNESS, str(SCRIPT), str(tmp_path), fate], check=True, timeout=60
    )
    assert running(hidden(tmp_path)) == []
    assert stranger.poll() is None


def test_a_killed_harness_leaves_a_record_by_which_all_are_found(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(SCRIPT), str(tmp_path), "killed"],
        stdout=subprocess.PIPE,
    )
    assert harness.stdout is not None
    assert harness.stdout.readline() == b"ready\n"
    pids = hidden(tmp_path)
    harness.kill()
    harness.wait()
    harness.stdout.close()
    assert sorted(running(pids)) == sorted(hiding.WAYS)
    lines = end_dead()
    assert running(pids) == []
    assert all(any(f"process {pid} (" in line for line in lines) for pid in pids.values())
    assert any(r"[kwork\xe9r/0]" in line for line in lines)
    assert stranger.poll() is None
    assert end_dead() == []


def test_a_record_of_another_boot_names_nobody(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", hiding.SLEEP])
    try:
        there = Owner("old.target", 1, 1, "0123456789ab.1")
        records = tmp_path / "cache" / "state" / "processes"
        records.mkdir(parents=True)
        record = records / there.folder_name
        record.write_text(f"{sleeper.pid} {start_ticks(sleeper.pid)}\n")
        end_dead()
        assert sleeper.poll() is None
        assert not record.exists()
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_process_id_that_is_another_s_by_now_is_left_alone(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", hiding.SLEEP])
    try:
        here = Owner("dead.target", 1, 1, Owner.this_process("x").world)
        records = tmp_path / "cache" / "state" / "processes"
        records.mkdir(parents=True)
        (records / here.folder_name).write_text(f"{sleeper.pid} 1\n77")
        assert not [line for line in end_dead() if line.startswith("process")]
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_test_suite_keeps_no_orphans() -> None:
    assert not ownership.keep_orphans()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"python3", "python3"),
        ("zähler".encode(), "zähler"),
        (b"k\xe9", r"k\xe9"),
        (b"\x1b[2J", r"\x1b[2J"),
    ],
)
def test_names_of_processes_are_shown_as_what_they_are(name: bytes, shown: str) -> None:
    assert printable(name) == shown
