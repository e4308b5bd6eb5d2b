"""What a program gets of the caller's environment, and what it does not get."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lossmeter.errors import CacheError
from lossmeter.load.requests import Requests
from lossmeter.load.schedule import Due
from lossmeter.model import Address
from lossmeter.world import isolation, programs
from lossmeter.world.waiting import wait_for
from tests.support.answering import load_plan


def test_only_what_is_named_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "http_proxy", "LOCUST_USERS", "PYTHONPATH", "LD_PRELOAD", "API_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    reported = programs.run(("env",), 10).out.splitlines()
    names = {line.partition("=")[0] for line in reported}
    assert {"PATH", "HOME", "LC_TIME"} <= names
    assert not names & {"PGHOST", "http_proxy", "LOCUST_USERS", "PYTHONPATH", "LD_LIBRARY_PATH"}
    assert isolation.python_environment()["LD_LIBRARY_PATH"] == "/opt/python/lib"
    assert "LD_LIBRARY_PATH" not in isolation.target_environment(("/usr/bin/java",))
    assert "LD_LIBRARY_PATH" in isolation.target_environment(("{python}", "-m", "mine"))


def test_modules_in_the_working_folder_hide_nothing(tmp_path: Path) -> None:
    for name in ("queue", "runpy", "secrets", "lossmeter"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    command = isolation.python_command("lossmeter.load.schedule")
    ended = programs.run(command, 30, environment=isolation.python_environment(), folder=tmp_path)
    assert ended.code == 0, ended.err


def test_a_package_found_by_pythonpath_is_found_by_a_helper(tmp_path: Path) -> None:
    # A bare interpreter, as of the system, with the packages somewhere else.
    folders = isolation.import_folders()
    code = (
        f"import sys; sys.path += {folders!r}\n"
        "from lossmeter.world import isolation, programs\n"
        "command = isolation.python_command('lossmeter.load.schedule')\n"
        "given = isolation.python_environment()\n"
        "sys.exit(programs.run(command, 60, environment=given).code)"
    )
    done = subprocess.run([sys.executable, "-S", "-P", "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_a_package_of_the_users_own_site_is_found_by_helpers_and_targets(tmp_path: Path) -> None:
    base = getattr(sys, "_base_executable", sys.executable)
    given = {"PATH": os.environ["PATH"], "PYTHONUSERBASE": str(tmp_path / "own")}
    where = subprocess.run(
        [base, "-m", "site", "--user-site"], env=given, check=False, capture_output=True, text=True
    ).stdout.strip()
    # As after pip install --user.
    own = Path(where)
    own.mkdir(parents=True)
    for package in [
        each for folder in isolation.import_folders() for each in Path(folder).iterdir()
    ]:
        if not (own / package.name).exists():
            (own / package.name).symlink_to(package)
    code = (
        "import sys\n"
        "from lossmeter.world import isolation, programs\n"
        "command = isolation.python_command('lossmeter.load.schedule')\n"
        "given = isolation.python_environment()\n"
        "print(programs.run(command, 60, environment=given))\n"
        "given = isolation.target_environment(('{python}',))\n"
        "command = (sys.executable, '-c', 'import lossmeter, psutil')\n"
        "print(programs.run(command, 60, environment=given))"
    )
    done = subprocess.run(
        [base, "-P", "-c", code],
        env=given,
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("code=0") == 2, done.stdout + done.stderr


def test_a_failure_is_one_sentence() -> None:
    ended = programs.run(("sh", "-c", "printf 'one\n\\377two\n' >&2; exit 3"), 10)
    assert ended.why == "failed with exit code 3: one | \ufffdtwo"
    with pytest.raises(CacheError, match=r"^nothing works, sh failed with exit code 3: one"):
        ended.checked(CacheError, "nothing works")
    slow = programs.run(("sleep", "9"), 0.05)
    assert slow.why == "did not end within 0.05 s"


def test_waiting_ends_with_the_first_true_answer_or_with_the_time() -> None:
    answers = iter([0, 0, 7, 8])
    assert wait_for(lambda: next(answers), 5, 0.0) == 7
    assert wait_for(lambda: 0, 0.01, 0.001) == 0
    assert wait_for(lambda: 5, 0.0) == 5


@pytest.mark.parametrize(("host", "text"), [("::1", "[::1]:80"), ("127.0.0.1", "127.0.0.1:80")])
def test_an_ipv6_address_has_brackets(host: str, text: str, tmp_path: Path) -> None:
    assert str(Address(host, 80)) == text
    assert Address.parse(text) == Address(host, 80)
    head, _ = Requests(replace(load_plan(tmp_path, 80, 1.0, 1.0, 1), host=host)).of(Due(0, 0, 0))
    assert f"\r\nHost: {text}\r\n".encode() in head
