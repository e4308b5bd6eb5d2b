"""Mount points are found by their names, whatever bytes those are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lossmeter.world.runtimes._disks import mounted_at, unavailable, unmount_below


@pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
@pytest.mark.parametrize(
    "name", [b"plain", "zähler 8".encode(), b"k\xe9", b"a\\134b", b"tab\there", "nel\x85".encode()]
)
def test_a_mount_point_of_any_name_is_found_and_unmounted(tmp_path: Path, name: bytes) -> None:
    point = tmp_path / os.fsdecode(name)
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
    try:
        found = mounted_at(point)
        assert found is not None
        assert (found.point, found.kind) == (point, "tmpfs")
        assert unmount_below(tmp_path) == [f"mount {point}"]
        assert mounted_at(point) is None
    finally:
        if os.path.ismount(point):
            subprocess.run(["umount", point], check=True)
