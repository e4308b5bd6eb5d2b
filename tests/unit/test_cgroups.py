"""What a memory control group is said to use."""

from pathlib import Path

import pytest

from lossmeter.world.runtimes._cgroups import working_set


@pytest.mark.parametrize(
    ("stat", "used"),
    [
        ("cache 90\nrss 50\ninactive_file 30\ntotal_inactive_file 40\n", 60),
        ("anon 50\nfile 50\ninactive_file 30\n", 70),
        ("anon 50\n", 100),
        ("inactive_file 300\n", 0),
    ],
)
def test_cached_files_that_lie_idle_are_not_used(tmp_path: Path, stat: str, used: int) -> None:
    (tmp_path / "memory.stat").write_text(stat, encoding="ascii")
    assert working_set(tmp_path, 100) == used


def test_a_group_that_has_gone_is_read_without_an_error(tmp_path: Path) -> None:
    assert working_set(tmp_path / "gone", 0) == 0
