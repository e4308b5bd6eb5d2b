"""The digests of all that a run recorded: ``manifest.json``, written before anything is judged.

It names every file that a judgement or a page is made from, with its size and SHA-256, and
the run that they belong to. ``result.json`` carries the manifest's own digest. So rows of
another run, invented dead letters or a raised bound are seen by whatever reads the folder.
Every run seals what it recorded as it ends, and only then is it judged; of a folder without
a manifest no verdict is a pass. Digests that were computed anew cannot be told from the first.
What is made from the record and may be made anew is not in it: see ``DERIVED``.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lossmeter.errors import AlteredError
from lossmeter.record.files import open_regular, read_bytes, why, write_text
from lossmeter.record.json_text import json_text

MANIFEST = "manifest.json"
RESULT = "result.json"
LOGS = "logs"
# The judge, reports and pages write these anew from the record.
DERIVED = (MANIFEST, RESULT)
# What a reader takes for a part of the record when it lies in the folder.
_RECORDED = frozenset({".npy", ".bin", ".json", ".jsonl"})
_PIECE = 1 << 20
WITHOUT = f"it was not sealed, so nothing vouches for what was recorded: it has no {MANIFEST}"


class RecordedFile(BaseModel):
    """One file as it was recorded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    sha256: str


class Manifest(BaseModel):
    """The files of one run by their names in its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    files: Mapping[str, RecordedFile]

    @property
    def digest(self) -> str:
        """Return the digest that ``result.json`` carries."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Seal:
    """A record whose digests were just taken, or compared.

    Attributes:
        digest: of its manifest; None for a run that was recorded without digests.
        looked: what the system said of its files before they were read.
    """

    digest: str | None
    looked: str

    def holds(self, folder: Path) -> bool:
        """Return whether nothing was written there since, so that it need not be read again."""
        try:
            return self.looked == _looked(path for _, path in _present(folder))
        except OSError:
            return False


def seal(folder: Path, run_id: str) -> Seal:
    """Write the manifest of a run that has recorded everything.

    Raises:
        OSError: a file cannot be read, or the manifest not be written.
    """
    present = dict(_present(folder))
    looked = _looked(present.values())
    # The digests release the interpreter's lock, so two files at a time take two cores.
    with ThreadPoolExecutor(2) as pool:
        files = dict(zip(present, pool.map(_recorded, present.values()), strict=True))
    manifest = Manifest(run_id=run_id, files=files)
    write_text(folder / MANIFEST, json_text(manifest) + "\n")
    return Seal(manifest.digest, looked)


def verify(folder: Path, run_id: str, *, sealed: bool) -> str | None:
    """Return the digest of a run's manifest after comparing every file with it.

    Returns:
        None for a run that was recorded without digests.

    Raises:
        AlteredError: a file was changed, removed or added since, or belongs to another run.
    """
    carried = _carried(folder)
    try:
        manifest = Manifest.model_validate_json(read_bytes(folder / MANIFEST))
    except FileNotFoundError:
        if sealed or carried is not None:
            raise _altered(f"{MANIFEST} is missing") from None
        return None
    except OSError as error:
        raise _altered(f"{MANIFEST} {why(error)}") from None
    except ValidationError:
        raise _altered(MANIFEST) from None
    if manifest.run_id != run_id:
        raise _altered(f"its files are those of run {manifest.run_id}")
    if carried is not None and carried != manifest.digest:
        raise _altered(f"{MANIFEST} or the digest in {RESULT}")
    present = dict(_present(folder))
    differing = [
        name if name in present else f"{name} (missing)"
        for name, recorded in sorted(manifest.files.items())
        if not _same(name, present.get(name), recorded)
    ]
    added = [name for name in sorted(present.keys() - manifest.files.keys()) if not _is_log(name)]
    if differing or added:
        raise _altered(", ".join([*differing, *(f"{name} (added)" for name in added)]))
    return manifest.digest


def genuine(folder: Path, run_id: str, *, sealed: bool, seal: Seal | None = None) -> Seal:
    """Return by what a run is as it was recorded; raises as ``verify`` does.

    Nothing is read where a seal still holds.
    """
    if seal is not None and seal.holds(folder):
        return seal
    looked = _looked(path for _, path in _present(folder))
    return Seal(verify(folder, run_id, sealed=sealed), looked)


def state(folder: Path) -> str:
    """Return a text that changes with any file of the record, without reading them.

    Raises:
        OSError: the folder cannot be read.
    """
    judged = [folder / name for name in DERIVED if (folder / name).exists()]
    return _looked([path for _, path in _present(folder)] + judged)


def _looked(paths: Iterable[Path]) -> str:
    looked = [(path.name, path.lstat()) for path in paths]
    return str([(n, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for n, s in looked])


def _altered(what: str) -> AlteredError:
    return AlteredError(f"altered since it was recorded: {what}")


def _is_log(name: str) -> bool:
    return name.startswith(f"{LOGS}/")


def _same(name: str, path: Path | None, recorded: RecordedFile) -> bool:
    if path is None:
        return False
    try:
        size = path.lstat().st_size
        # What outlives a run, e.g. an attached target, may write on in its log.
        if size != recorded.size and not (_is_log(name) and size > recorded.size):
            return False
        return _recorded(path, recorded.size) == recorded
    except OSError:
        return False


def _recorded(path: Path, most: int | None = None) -> RecordedFile:
    """Return size and digest of a file, or of its first bytes."""
    digest, size = hashlib.sha256(), 0
    with open_regular(path) as file:
        while data := file.read(_PIECE if most is None else min(_PIECE, most - size)):
            digest.update(data)
            size += len(data)
    return RecordedFile(size=size, sha256=digest.hexdigest())


def _present(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what a reader takes for the record: the folder's own files, and the logs."""
    for path in sorted(folder.iterdir()):
        if path.name not in DERIVED and path.suffix in _RECORDED and path.name[0] != ".":
            yield path.name, path
    logs = folder / LOGS
    if logs.is_dir() and not logs.is_symlink():
        for path in sorted(logs.rglob("*")):
            if stat.S_ISREG(path.lstat().st_mode):
                yield str(path.relative_to(folder)), path


def _carried(folder: Path) -> str | None:
    """Return the digest that a run's result carries; None where it carries none."""
    try:
        reported = json.loads(read_bytes(folder / RESULT))
    except (OSError, ValueError, RecursionError):
        return None
    carried = reported.get("manifest_sha256") if isinstance(reported, dict) else None
    return carried if isinstance(carried, str) else None
