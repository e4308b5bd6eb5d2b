"""How far a download has come, in words."""

from __future__ import annotations

import threading
from pathlib import Path

from lossmeter.world.install.progress import amount, bytes_below, told


def test_bytes_and_the_seconds_that_are_left() -> None:
    assert amount(12_300_000, 54_100_000, 2.0) == "12.3 of 54.1 MB, 7 s left"
    assert amount(0, 54_100_000, 2.0) == "0.0 of 54.1 MB"
    assert amount(60_000_000, 54_100_000, 2.0) == "60.0 of 54.1 MB, 0 s left"
    assert amount(12_300_000, None, 4.2) == "12.3 MB after 4 s"


def test_what_is_below_a_folder_is_counted_with_what_comes_and_goes(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "a.deb").write_bytes(b"x" * 30)
    (tmp_path / "b.deb").write_bytes(b"x" * 12)
    (tmp_path / "lists").write_bytes(b"x" * 100)
    (tmp_path / "gone.deb").symlink_to(tmp_path / "nowhere")
    assert bytes_below(tmp_path, "*.deb") == 42
    assert bytes_below(tmp_path / "nothing") == 0


def test_it_is_told_again_and_again_until_it_is_over() -> None:
    lines: list[str] = []
    twice = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            twice.set()

    with told(lambda took_s: f"after {took_s:.3f}", say, every_s=0.01):
        assert twice.wait(10)
    told_while_it_went_on = len(lines)
    threading.Event().wait(0.05)
    assert len(lines) == told_while_it_went_on
    assert lines[:2] == sorted(lines[:2])
