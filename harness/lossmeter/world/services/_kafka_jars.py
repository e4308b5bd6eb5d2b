"""Kafka's jars: exactly those of ``kafka.lock``, each with the checksum written there.

A line of the lock is ``sha256  bytes  group:artifact:version``. Because the lock is complete,
installing resolves nothing: it downloads those files and accepts no other. To change Kafka's
version, resolve ``ROOTS`` with ``mvn dependency:list -DincludeScope=runtime`` and write a line
for each jar that it names.
"""

from __future__ import annotations

import hashlib
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from lossmeter.errors import CacheError
from lossmeter.world.install.certificates import VARIABLE, bundle
from lossmeter.world.install.maven import VARIABLE as REPOSITORY
from lossmeter.world.install.maven import Repository, repository
from lossmeter.world.install.progress import Progress

LOCK = Path(__file__).with_name("kafka.lock")
ROOTS = (
    "org.apache.kafka:kafka_2.13:4.1.0",
    # Without it Kafka's log goes nowhere.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
)
_AT_ONCE = 6
_ATTEMPTS = 3
_TIMEOUT_S = 30
_PART = 2**16
# Asked again, these answers stay what they are.
_FINAL = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    sha256: str
    size: int
    group: str
    artifact: str
    version: str

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        """Return the name of its file in the cache."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> str:
        """Return where it is in a repository of Maven's layout."""
        group = self.group.replace(".", "/")
        return f"{group}/{self.artifact}/{self.version}/{self.file_name}"


def locked(lock: Path = LOCK) -> tuple[Jar, ...]:
    """Read the lock.

    Raises:
        CacheError: a line is not of the form that the lock has.
    """
    jars = []
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split("  ")
        parts = words[-1].split(":")
        if len(words) != 3 or len(words[0]) != 64 or len(parts) != 3 or not words[1].isdecimal():
            raise CacheError(
                f"{lock.name}:{number} reads {line!r}; right is "
                "'sha256  bytes  group:artifact:version'"
            )
        jars.append(Jar(words[0], int(words[1]), *parts))
    return tuple(jars)


def fingerprint(jars: tuple[Jar, ...]) -> str:
    """Return a short name for this very set of jars."""
    return hashlib.sha256("\n".join(jar.sha256 for jar in jars).encode()).hexdigest()[:8]


def download(jars: tuple[Jar, ...], to: Path, say: Callable[[str], None]) -> None:
    """Bring all jars into a folder, each checked before it takes its name there.

    Args:
        jars: those of the lock.
        to: the folder.
        say: called with a line every two seconds that says how far it has come.

    Raises:
        CacheError: one could not be downloaded, or has another checksum.
    """
    source = repository()
    progress = Progress("kafka", sum(jar.size for jar in jars), say)
    with tempfile.TemporaryDirectory(dir=to) as scratch, ThreadPoolExecutor(_AT_ONCE) as pool:
        got = [pool.submit(_get, jar, source, Path(scratch), progress) for jar in jars]
        try:
            for jar, future in zip(jars, got, strict=True):
                future.result().rename(to / jar.file_name)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _get(jar: Jar, source: Repository, folder: Path, progress: Progress) -> Path:
    file = folder / jar.file_name
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _fetch(source, jar.path, file, progress)
            break
        except (OSError, HTTPException) as error:
            progress.add(-file.stat().st_size if file.exists() else 0)
            final = isinstance(error, urllib.error.HTTPError) and error.code in _FINAL
            if final or attempt == _ATTEMPTS:
                raise CacheError(
                    f"{jar} could not be downloaded from {source}: {_why(error)}; connect this "
                    "machine to the network, or set the variables that it needs for its proxy, "
                    f"for a repository of its own ({REPOSITORY}) or for certificates ({VARIABLE})"
                ) from error
            time.sleep(attempt)
    _check(jar, file)
    return file


def _fetch(source: Repository, path: str, to: Path, progress: Progress) -> None:
    context = ssl.create_default_context(cafile=bundle())
    # The certificates of a company's proxy are often older than this rule.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with (
        urllib.request.urlopen(  # noqa: S310 - a repository that this machine's settings name
            source.request(path), timeout=_TIMEOUT_S, context=context
        ) as answer,
        to.open("wb") as file,
    ):
        while part := answer.read(_PART):
            file.write(part)
            progress.add(len(part))


def _check(jar: Jar, file: Path) -> None:
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != jar.sha256:
        raise CacheError(
            f"{jar} was downloaded with sha256 {sha256}, but {LOCK.name} demands {jar.sha256}, "
            "so nothing was installed; find out who changed the file before trying again"
        )


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"{type(reason).__name__}, {reason}" if isinstance(reason, Exception) else str(reason)
