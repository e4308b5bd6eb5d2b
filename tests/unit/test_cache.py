from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lossmeter.errors import CacheError, UnavailableError
from lossmeter.world.install import cache
from lossmeter.world.install.go_modules import Workshop
from lossmeter.world.services import _files, _toxiproxy_build
from lossmeter.world.services.postgres import SERVICE as POSTGRES
from lossmeter.world.services.toxiproxy import SERVICE as TOXIPROXY


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    return folder


def write(text: str = "whole") -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "file").write_text(text, encoding="utf-8")

    return build


def explode(folder: Path) -> None:
    (folder / "half").touch()
    raise CacheError("the download broke off")


# What an entry is.


def test_an_entry_is_built_once(root: Path) -> None:
    built = cache.entry("server", "1.0", write("first"))
    again = cache.entry("server", "1.0", write("second"))

    assert built == again == root / "server-1.0" == cache.find("server", "1.0")
    assert (built / "file").read_text(encoding="utf-8") == "first"


def test_an_entry_cannot_be_seen_before_it_is_whole(root: Path) -> None:
    seen: list[object] = []

    def build(folder: Path) -> None:
        seen.extend((cache.find("server", "1.0"), (root / "server-1.0").exists()))
        write()(folder)

    cache.entry("server", "1.0", build)

    assert seen == [None, False]


def test_a_build_that_fails_leaves_nothing_and_can_be_repeated(root: Path) -> None:
    with pytest.raises(CacheError, match="broke off"):
        cache.entry("server", "1.0", explode)

    assert [path.name for path in root.iterdir()] == [".locks"]
    assert cache.entry("server", "1.0", write()).is_dir()


def test_what_a_dead_process_left_is_removed(root: Path) -> None:
    cache.entry("server", "1.0", write())
    (root / "server-1.0" / cache.STAMP).unlink()
    (root / ".server-1.0~dead").mkdir()
    (root / ".server-1.0~dead" / "half").touch()
    (root / ".server-1.0.1~alive").mkdir()

    built = cache.entry("server", "1.0", write("new"))

    assert (built / "file").read_text(encoding="utf-8") == "new"
    assert not (root / ".server-1.0~dead").exists()
    assert (root / ".server-1.0.1~alive").exists(), "another entry is not its business"


def test_two_processes_at_once_build_once(root: Path, tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from lossmeter.world.install.cache import entry

def build(folder):
    with Path(sys.argv[1]).open("a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (folder / "file").touch()

assert (entry("server", "1.0", build) / "file").exists()
"""
    log = tmp_path / "log"
    command = (sys.executable, "-c", script, str(log))
    running = [subprocess.Popen(command) for _ in range(3)]

    assert [process.wait(30) for process in running] == [0, 0, 0]
    assert log.read_text(encoding="utf-8") == "built\n"
    assert (root / "server-1.0" / "file").exists()


def test_everybody_can_read_an_entry_whatever_the_umask(root: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "server").touch()
        (folder / "bin" / "server").chmod(0o700)
        write()(folder)

    before = os.umask(0o077)
    try:
        built = cache.entry("server", "1.0", build)
    finally:
        os.umask(before)

    modes = [stat.S_IMODE(p.stat().st_mode) for p in (root, built, built / "bin" / "server")]
    assert modes == [0o755, 0o755, 0o755]
    assert stat.S_IMODE((built / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("version", ["../up", "1.0/..", "1 0", ""])
def test_a_name_that_could_leave_the_cache_is_refused(version: str) -> None:
    with pytest.raises(CacheError, match="cannot name a cache entry"):
        cache.entry("", version, write())


def test_discard_keeps_what_replaced_the_others(root: Path) -> None:
    old, new, other = (cache.entry("server", v, write()) for v in ("1-a-x", "1-a-y", "1-b-x"))

    cache.discard("server", "*-a-*", keep=new)

    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)
    assert root.exists()


# What can go wrong.


def test_too_small_a_disk_is_told_before_anything_is_built(root: Path) -> None:
    with pytest.raises(CacheError, match=r"MiB free, and server-1.0 needs 999999999 MiB"):
        cache.entry("server", "1.0", explode, needs_mib=999_999_999)

    assert not list(root.glob(".server*"))


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "became full while server 1.0 was installed; free some, or name another"),
        (errno.EDQUOT, "became full"),
        (errno.EROFS, "cannot be written; name another folder in LOSSMETER_CACHE"),
        (errno.EIO, "could not be installed in"),
    ],
)
def test_errors_of_the_disk_become_sentences(number: int, sentence: str, root: Path) -> None:
    def build(folder: Path) -> None:
        raise OSError(number, os.strerror(number), str(folder))

    with pytest.raises(CacheError, match=sentence):
        cache.entry("server", "1.0", build)

    assert not list(root.glob("*server-1.0*"))


def test_a_cache_that_is_a_file_is_told(root: Path) -> None:
    root.write_text("not a folder", encoding="utf-8")

    with pytest.raises(CacheError, match="could not be installed in"):
        cache.entry("server", "1.0", write())


def test_a_fallback_that_somebody_else_made_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr(cache, "_can_be_made", lambda _: False)
    (tmp_path / "lossmeter-4242").mkdir()

    with pytest.raises(CacheError, match="belongs to another user"):
        cache.entry("server", "1.0", write())


# Where it is.


def test_the_variable_names_the_cache(root: Path) -> None:
    assert cache.cache_root() == root


def test_root_has_a_cache_that_others_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert cache.cache_root() == Path("/var/cache/lossmeter")


def test_a_user_has_a_cache_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setenv("HOME", str(tmp_path))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_root() == tmp_path / "xdg" / "lossmeter"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_root() == tmp_path / ".cache" / "lossmeter"
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setattr(cache, "_can_be_made", lambda _: False)
    assert cache.cache_root().name == "lossmeter-4242"


def test_a_closed_folder_on_the_way_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    for folder in (*inner.parents, inner):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)

    assert cache.closed_to_others(inner) == tmp_path / "closed"


def test_what_a_killed_build_left_is_removed_and_what_is_being_built_stays(root: Path) -> None:
    left, built = root / ".kafka-startup-1.0-a~x7f2", root / ".kafka-1.0~y8g3"
    for folder in (left, built):
        folder.mkdir(parents=True)
        (folder / "kafka.aot").write_text("half", encoding="ascii")
    (root / ".locks").mkdir()
    with cache._locked(root, "kafka-1.0"):
        # In a process of its own, as ``lossmeter recover`` is.
        code = "from lossmeter.world.install.cache import remove_unfinished as r; print(r())"
        done = subprocess.run(
            (sys.executable, "-c", code), capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == "['half-made kafka-startup-1.0-a in the cache']"
    assert (left.exists(), built.exists()) == (False, True)


def test_a_umask_that_closes_all_leaves_the_cache_open(root: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = cache.entry("tool", "1.0", write())
        cache.make_open(root / "state" / "local")
    finally:
        os.umask(before)
    assert cache.closed_to_others(root / "state" / "local") in {None, *root.parents}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "file").stat().st_mode) & 0o444 == 0o444


# Building Toxiproxy.


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("dial tcp: lookup proxy: no such host", "connect this machine to the network"),
        ("verifying module: checksum mismatch", "find out who changed what was downloaded"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "find out who changed what was downloaded"),
        ("write /x: no space left on device", "free some disk space"),
        ("No module named pip", "install pip, or Go"),
    ],
)
def test_a_failed_step_says_what_would_help(output: str, advice: str) -> None:
    sentence = _toxiproxy_build.MODULES.failed("go build", output)

    assert sentence.startswith(f"toxiproxy could not be installed, go build failed: {output}")
    assert advice in sentence


def test_a_go_that_is_too_old_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.9.7\n", encoding="utf-8")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    shop = Workshop(_toxiproxy_build.MODULES, tmp_path, tmp_path)
    assert shop.sufficient_go() is None
    go.write_text("#!/bin/sh\necho go1.26.0\n", encoding="utf-8")
    assert shop.sufficient_go() == go


# Files.


def test_a_private_file_is_private_even_where_another_file_was(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o666)

    _files.write_private(secret, "password")

    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.stat().st_uid == tmp_path.stat().st_uid


# Users that PostgreSQL cannot be started by.


def test_a_user_without_a_name_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 2**31 - 7)
    why = POSTGRES.missing()
    assert why is not None
    assert "user id 2147483641 has none in /etc/passwd" in why
    with pytest.raises(UnavailableError, match="user id 2147483641"):
        POSTGRES.install(print)


def test_a_cache_that_others_cannot_enter_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv(cache.VARIABLE, str(closed / "cache"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for service in (POSTGRES, TOXIPROXY):
        assert "other users cannot enter" in (service.missing() or "")
        with pytest.raises(UnavailableError, match="name another folder in LOSSMETER_CACHE"):
            service.install(print)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_beside_a_cache_that_is_only_read_runs_have_a_place_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    assert cache.state_root() == root / "state"
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    own = cache.state_root()
    assert own == tmp_path / f"lossmeter-{os.geteuid()}" / "state"
    own.mkdir(parents=True)
    cache.check_own(own)
    os.chown(own.parent, 12345, -1)
    with pytest.raises(CacheError, match="belongs to another user"):
        cache.check_own(own)
