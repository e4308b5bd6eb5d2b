"""A full disk is named, whoever meets it first and however little that one says of it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lossmeter.cli import _last_resort
from lossmeter.errors import ExitCode, HarnessError, TargetError
from lossmeter.model import Verdict
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.record.files import write_bytes
from lossmeter.record.spill import open_spill
from lossmeter.run.narrator import Silent
from lossmeter.run.set_up import Ask
from lossmeter.run.story import run
from lossmeter.world.runtimes._disks import unavailable
from lossmeter.world.runtimes.local import LocalRuntime

MIB = 1 << 20


def ask(runtime: LocalRuntime, runs: Path) -> Ask:
    catalogue = Catalogue.here()
    cell = cells(catalogue, catalogue.experiment("control"), ["channel"], [])[0]
    return Ask(cell, runtime, 1, runs, Silent())


def test_a_run_that_gets_no_folder_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    runs = tmp_path / "runs"
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(HarnessError) as caught:
        run(ask(LocalRuntime(), runs))
    assert str(caught.value).startswith(f"the disk of {runs} is full: No space left on device")


class Ending(LocalRuntime):
    """A target that ends, as one does that cannot write its log."""

    @contextmanager
    def open(self, order: object) -> Iterator[None]:  # type: ignore[override] # has no site
        folder: Path = order.folder  # type: ignore[attr-defined] # a run's order
        with (folder / "target.log").open("wb", buffering=0) as log:
            try:
                while log.write(bytes(4096)):
                    pass
            except OSError:
                raise TargetError("target channel ended with exit code 1") from None
        yield


class EndingElsewhere(Ending):
    """One whose own process met the full disk: nothing here knows of an error of the system."""

    @contextmanager
    def open(self, order: object) -> Iterator[None]:  # type: ignore[override] # has no site
        said = ""
        try:
            with super().open(order):
                pass
        except TargetError as error:
            said = str(error)
        raise TargetError(said)
        yield


@pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
@pytest.mark.parametrize("runtime", [Ending(), EndingElsewhere()], ids=["here", "elsewhere"])
def test_no_target_is_blamed_for_a_full_disk(tmp_path: Path, runtime: LocalRuntime) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", tmp_path], check=True)
    try:
        result = run(ask(runtime, tmp_path))
        assert result.verdict is Verdict.ERROR
        assert f"the disk of {tmp_path / result.run_id} is full" in result.reason
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file become larger."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_arrays_that_find_no_room_say_so(tmp_path: Path) -> None:
    with open_spill(tmp_path) as spill, room_for(MIB), pytest.raises(OSError) as caught:  # noqa: PT011 - its number follows
        spill.keep(np.zeros(2 * MIB, np.uint8))
    assert caught.value.errno == errno.EFBIG


def test_a_file_that_finds_no_room_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "durability.json"
    with room_for(MIB), pytest.raises(OSError) as caught:  # noqa: PT011 - its name follows
        write_bytes(path, bytes(2 * MIB))
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
    assert _last_resort(caught.value) is ExitCode.HARNESS_ERROR
    assert _last_resort(OSError(errno.ENOSPC, "No space left on device")) is ExitCode.HARNESS_ERROR
    said = capsys.readouterr().err
    assert f"{path} cannot be used: File too large" in said.replace("\n", "")
    assert "a disk cannot be used: No space left on device" in said
    assert "Traceback" not in said
