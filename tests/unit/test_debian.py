"""Installing Debian's packages, with an apt that does as the test says."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lossmeter.errors import UnavailableError
from lossmeter.world.install import debian
from lossmeter.world.install.progress import told

Apt = Callable[[str], Path]


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    """Put a program called apt-get first on PATH; returns where it notes how it was called."""

    def put(script: str) -> Path:
        program = tmp_path / "apt-get"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n', encoding="utf-8"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "calls"

    return put


def test_lists_are_brought_first_and_only_what_is_needed_is_installed(apt: Apt) -> None:
    calls = apt("exit 0")
    debian.install(["runc", "iproute2"], print)
    said = [line.split() for line in calls.read_text(encoding="utf-8").splitlines()]
    wanted = ["--yes", "--no-install-recommends", "runc", "iproute2"]
    assert said[0] == ["update", "-qq"]
    assert said[1] == ["install", "-qq", "--print-uris", *wanted]
    # Downloaded into a folder of their own, whose size tells how far it has come.
    assert [words[:2] + words[-4:] for words in said[2:]] == [["install", "-qq", *wanted]] * 2
    assert "--download-only" in said[2]
    assert "--download-only" not in said[3]


_SLOW = r"""
case "$*" in
*--print-uris*)
    echo "'http://deb.example/pool/r/runc_1_amd64.deb' runc_1_amd64.deb 4000000 SHA256:aa"
    echo "'http://deb.example/pool/i/iproute2_6_amd64.deb' iproute2_6_amd64.deb 1000000 MD5Sum:bb";;
*--download-only*)
    for each in "$@"; do case $each in Dir::Cache::archives=*) to=${each#*=};; esac; done
    head -c 2500000 /dev/zero > "$to/runc_1_amd64.deb"
    sleep 1;;
esac
"""


def test_how_far_a_download_has_come_is_told(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    apt(_SLOW)
    monkeypatch.setattr(debian, "told", partial(told, every_s=0.3))
    lines: list[str] = []
    debian.install(["runc", "iproute2"], lines.append)
    assert lines
    assert set(lines) <= {f"2.5 of 5.0 MB, {left} s left" for left in (0, 1, 2)}


def test_what_apt_said_last_is_told(apt: Apt) -> None:
    apt('[ "$1" = update ] || { echo "E: Unable to locate package runc" >&2; exit 100; }')
    with pytest.raises(UnavailableError) as error:
        debian.install(["runc"], print)
    assert str(error.value) == (
        "runc could not be installed, apt-get install failed with exit code 100: "
        "E: Unable to locate package runc"
    )


def test_elsewhere_nothing_can_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not debian.has_packages()
    assert not debian.can_install()
