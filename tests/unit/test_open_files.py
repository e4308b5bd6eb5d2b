"""A process may have as many files open as the system lets it."""

import resource
from collections.abc import Iterator

import pytest

from lossmeter.run import open_files


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_low_limit_is_raised_as_far_as_the_system_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    most = open_files.allow()
    assert most == min(open_files.WANTED, hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, hard)


def test_a_high_limit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(open_files, "WANTED", soft - 1)
    assert open_files.allow() == soft
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
