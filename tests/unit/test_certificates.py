"""Whom downloads and images trust."""

import os
from pathlib import Path

import pytest

from harness.certificates import VARIABLE, bundle, trusted_by_downloads
from harness.errors import UnavailableError

LIBRARY = "REQUESTS_CA_BUNDLE"


def test_the_file_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text("", encoding="ascii")
    monkeypatch.setenv(VARIABLE, str(own))
    assert bundle() == own


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/own.pem")
    with pytest.raises(UnavailableError, match=r"names /nowhere/own\.pem, and there is no such"):
        bundle()


def test_downloads_trust_whom_the_machine_trusts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.pem"
    own.write_text("", encoding="ascii")
    monkeypatch.setenv(VARIABLE, str(own))
    monkeypatch.delenv(LIBRARY, raising=False)
    with trusted_by_downloads():
        assert os.environ[LIBRARY] == str(own)
    assert LIBRARY not in os.environ


def test_whom_the_user_has_named_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIBRARY, "/theirs.pem")
    with trusted_by_downloads():
        assert os.environ[LIBRARY] == "/theirs.pem"
    assert os.environ[LIBRARY] == "/theirs.pem"
