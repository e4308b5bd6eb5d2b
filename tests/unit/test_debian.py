"""Installing Debian's packages, with an apt that does as the test says."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import debian
from harness.errors import UnavailableError

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
    debian.install(["runc", "iproute2"])
    assert calls.read_text(encoding="utf-8").splitlines() == [
        "update -qq",
        "install -qq --yes --no-install-recommends runc iproute2",
    ]


def test_what_apt_said_last_is_told(apt: Apt) -> None:
    apt('[ "$1" = update ] || { echo "E: Unable to locate package runc" >&2; exit 100; }')
    with pytest.raises(UnavailableError) as error:
        debian.install(["runc"])
    assert str(error.value) == (
        "runc could not be installed, apt-get install failed with exit code 100:\n"
        "E: Unable to locate package runc"
    )


def test_elsewhere_nothing_can_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not debian.has_packages()
    assert not debian.can_install()
