"""Kafka's jars: exactly those of ``kafka.lock``, each with the checksum written there.

A line of the lock is ``sha256  group:artifact:version``. Because the lock is complete,
installing resolves nothing: it downloads those files and accepts no other. The lock is
written anew, after ``ROOTS`` was changed, by::

    python -m harness.services._kafka_jars > kafka.lock
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.certificates import VARIABLE, trusted_by_downloads
from harness.errors import CacheError

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

LOCK = Path(__file__).with_name("kafka.lock")
ROOTS = (
    "org.apache.kafka:kafka_2.13:4.1.0",
    # Without it Kafka's log goes nowhere. The mark keeps its bill of materials, which
    # names an older Kafka, from choosing versions.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!",
)
_AT_ONCE = 6
_ATTEMPTS = 3
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    sha256: str
    group: str
    artifact: str
    version: str

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        """Return the name of its file in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def locked(lock: Path = LOCK) -> tuple[Jar, ...]:
    """Read the lock.

    Raises:
        CacheError: a line is not of the form that the lock has.
    """
    jars = []
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
        sha256, _, coordinate = line.partition("  ")
        parts = coordinate.split(":")
        if len(sha256) != 64 or len(parts) != 3:
            raise CacheError(
                f"{lock.name}:{number} reads {line!r}; right is 'sha256  group:artifact:version'"
            )
        jars.append(Jar(sha256, *parts))
    return tuple(jars)


def fingerprint(jars: tuple[Jar, ...]) -> str:
    """Return a short name for this very set of jars."""
    return hashlib.sha256("\n".join(jar.sha256 for jar in jars).encode()).hexdigest()[:8]


def download(jars: tuple[Jar, ...], to: Path) -> None:
    """Bring all jars into a folder, each checked before it takes its name there.

    Raises:
        CacheError: one could not be downloaded, or has another checksum.
    """
    with trusted_by_downloads(), tempfile.TemporaryDirectory(dir=to) as scratch:
        context = _context(Path(scratch))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            got = [pool.submit(_get, jar, context) for jar in jars]
            try:
                for jar, future in zip(jars, got, strict=True):
                    future.result().rename(to / jar.file_name)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def check(jar: Jar, file: Path) -> None:
    """Compare a downloaded file with the lock.

    Raises:
        CacheError: it is another file than the one that was locked.
    """
    found = _sha256(file)
    if found != jar.sha256:
        raise CacheError(
            f"{jar} was downloaded with sha256 {found}, but {LOCK.name} demands {jar.sha256}, "
            "so nothing was installed; find out who changed the file before trying again"
        )


def _get(jar: Jar, context: MavenContext) -> Path:
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    file = _resolve(component.artifact())
    check(jar, file)
    return file


def _resolve(artifact: Artifact) -> Path:
    import requests  # noqa: PLC0415 - heavy

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Path(artifact.resolve())
        except requests.RequestException as error:
            # What came before the connection broke would be taken for the whole file.
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)
            if attempt == _ATTEMPTS:
                raise CacheError(
                    f"{artifact} could not be downloaded: {type(error).__name__}; connect this "
                    "machine to the network, or set the variables that it needs for its proxy, "
                    f"or for certificates ({VARIABLE})"
                ) from error
            time.sleep(attempt)
        except RuntimeError as error:
            raise CacheError(f"{artifact} could not be downloaded: {error}") from error
    raise AssertionError("the loop returns or raises")


def _context(folder: Path) -> MavenContext:
    from jgo.config import GlobalSettings  # noqa: PLC0415 - heavy
    from jgo.maven import MavenContext  # noqa: PLC0415 - heavy

    # A company's mirror is named in jgo's own settings; checksums hold wherever it comes from.
    mirrors = GlobalSettings.load().repositories or None
    return MavenContext(repo_cache=folder, remote_repos=mirrors, timeout=_TIMEOUT_S)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def resolve_anew() -> list[str]:
    """Resolve ``ROOTS`` with everything they need and return the lines of a new lock."""
    with tempfile.TemporaryDirectory() as scratch:
        context = _context(Path(scratch))
        wanted = [context.create_dependency(root) for root in ROOTS]
        named, needed = context.resolver.resolve(wanted)
        running = [dep for dep in needed if dep.scope in {"compile", "runtime"}]
        lines = {_line(dep.artifact) for dep in (*named, *running)}
    return sorted(lines, key=lambda line: line.partition("  ")[2])


def _line(artifact: Artifact) -> str:
    coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
    return f"{_sha256(_resolve(artifact))}  {coordinate}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(resolve_anew()) + "\n")
