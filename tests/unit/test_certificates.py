"""Whom downloads and images trust."""

from pathlib import Path

import pytest

from lossmeter.errors import UnavailableError
from lossmeter.world.install.certificates import VARIABLE, bundle

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


def test_the_bundle_of_other_programs_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.pem"
    theirs.write_text("", encoding="ascii")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv(LIBRARY, str(theirs))
    assert bundle() == theirs
