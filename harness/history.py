"""An index of runs: SQLite, made from the run folders and made anew from them at any time.

The folders are the record; the index only saves reading them all. A folder that is gone is
gone from the index too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.facts import Facts
from harness.model import Verdict
from harness.result import RESULT, Result

# Says that the file is ours, and of which layout; see SQLite's "Database File Format".
APPLICATION_ID = 0x4C4F5353
SCHEMA = 1
LOCKED_S = 30.0

_CREATE = """
create table runs (
    folder text primary key,
    changed_ns integer not null,
    begun text not null,
    experiment text not null,
    target text not null,
    runtime text not null,
    seed integer not null,
    verdict text not null,
    reason text not null,
    sent integer not null,
    acked integer not null,
    lost integer,
    unresolved integer,
    duplicated integer,
    recovery_s real,
    throughput_per_s real,
    latency_p99_ms real
) strict
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One run.

    Attributes:
        folder: name of its folder.
        changed_ns: when its result was last written.
        begun: UTC, ISO 8601.
        lost, unresolved, duplicated: events; None where they were not measured.
        recovery_s: seconds; None where it was not seen.
        throughput_per_s: rows persisted per second between the first and the last.
        latency_p99_ms: from the scheduled time to the yes.
    """

    folder: str
    changed_ns: int
    begun: str
    experiment: str
    target: str
    runtime: str
    seed: int
    verdict: str
    reason: str
    sent: int
    acked: int
    lost: int | None
    unresolved: int | None
    duplicated: int | None
    recovery_s: float | None
    throughput_per_s: float | None
    latency_p99_ms: float | None

    @property
    def conclusive(self) -> bool:
        """Return whether its figures say something about the target."""
        return self.verdict in {Verdict.PASS, Verdict.FAIL}


_COLUMNS = tuple(field.name for field in fields(Entry))
_INSERT = (
    f"insert or replace into runs ({', '.join(_COLUMNS)}) "  # noqa: S608 - our own names
    f"values ({', '.join('?' * len(_COLUMNS))})"
)
_SELECT = f"select {', '.join(_COLUMNS)} from runs"  # noqa: S608 - our own names


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are asked for; None for all."""

    experiment: str | None = None
    target: str | None = None
    runtime: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The runs of a project.

    Attributes:
        file: the index.
        runs: the folder that holds the run folders.
    """

    file: Path
    runs: Path

    def refresh(self) -> list[str]:
        """Bring the index up to the run folders; return a sentence for each damaged one.

        Raises:
            UsageError: the file holds something else, or cannot be written.
        """
        with self._open() as connection:
            known = dict(connection.execute("select folder, changed_ns from runs"))
            present, damaged = {}, []
            for folder in self._folders():
                try:
                    present[folder.name] = _changed_ns(folder)
                    if known.get(folder.name) != present[folder.name]:
                        connection.execute(_INSERT, _values(_entry(folder)))
                except (HarnessError, OSError, ValueError) as error:
                    present.pop(folder.name, None)
                    damaged.append(f"{folder.name}: {error}")
            gone = [(name,) for name in known if name not in present]
            connection.executemany("delete from runs where folder = ?", gone)
        return damaged

    def entries(self, of: Filter) -> list[Entry]:
        """Return the runs that are asked for, the oldest first."""
        asked = {f.name: getattr(of, f.name) for f in fields(of) if getattr(of, f.name) is not None}
        where = " and ".join(f"{name} = ?" for name in asked) or "true"
        query = f"{_SELECT} where {where} order by begun, folder"
        with self._open() as connection:
            return [Entry(*row) for row in connection.execute(query, tuple(asked.values()))]

    def folder(self, name: str) -> Path | None:
        """Return the folder of a run; None when there is none of exactly that name."""
        return next((folder for folder in self._folders() if folder.name == name), None)

    def _folders(self) -> list[Path]:
        if not self.runs.is_dir():
            return []
        return [p for p in sorted(self.runs.glob("*-*")) if p.is_dir() and not p.is_symlink()]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the index in one transaction; one of another layout or damaged is made anew."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if not _sound(self.file):
                self.file.unlink(missing_ok=True)
            with closing(sqlite3.connect(self.file, timeout=LOCKED_S)) as connection, connection:
                connection.execute("begin immediate")
                _ensure(connection)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise UsageError(f"{self.file} cannot be used as an index of runs: {error}") from None


def _sound(file: Path) -> bool:
    """Return whether the index can be used as it is; no file is fine too.

    Raises:
        UsageError: it is a database of somebody else's.
    """
    if not file.exists() or file.stat().st_size == 0:
        return True
    try:
        with closing(sqlite3.connect(file, timeout=LOCKED_S)) as connection:
            (application,) = connection.execute("pragma application_id").fetchone()
            (schema,) = connection.execute("pragma user_version").fetchone()
            (check,) = connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False
    if application != APPLICATION_ID:
        raise UsageError(f"{file} is a database that is no index of runs; move it away")
    return bool(schema == SCHEMA and check == "ok")


def _ensure(connection: sqlite3.Connection) -> None:
    (schema,) = connection.execute("pragma user_version").fetchone()
    if schema == 0:
        connection.execute(_CREATE)
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {SCHEMA}")


def _changed_ns(folder: Path) -> int:
    """Return when a run's result was written.

    Raises:
        UsageError: there is none.
    """
    try:
        return (folder / RESULT).stat().st_mtime_ns
    except OSError:
        raise UsageError(f"it has no {RESULT}: it was cut short, or still runs") from None


def _entry(folder: Path) -> Entry:
    result = Result.load_from(folder)
    # A folder without its facts cannot be judged again, and is not a run's.
    Facts.load(folder)
    counts = {
        name: None if name in result.not_measured else getattr(result.counts, name)
        for name in ("lost", "unresolved", "duplicated")
    }
    return Entry(
        folder=folder.name,
        changed_ns=_changed_ns(folder),
        begun=_begun(folder),
        experiment=result.experiment,
        target=result.target,
        runtime=result.runtime,
        seed=result.seed,
        verdict=result.verdict.value,
        reason=result.reason,
        sent=result.counts.sent,
        acked=result.counts.acked,
        recovery_s=result.recovery_s,
        throughput_per_s=result.load.persisted_per_s if result.load else None,
        latency_p99_ms=result.load.latency_p99_ms if result.load else None,
        **counts,
    )


def _begun(folder: Path) -> str:
    """Return when a run began: its folder's name says it, or else the age of its facts."""
    try:
        stamp = folder.name.partition("-")[0]
        begun = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        begun = datetime.fromtimestamp((folder / "facts.json").stat().st_mtime, UTC)
    return begun.isoformat(timespec="seconds")


def _values(entry: Entry) -> tuple[str | int | float | None, ...]:
    return tuple(getattr(entry, name) for name in _COLUMNS)


@dataclass(frozen=True, slots=True)
class Trend:
    """The runs of one experiment on one target and runtime, the oldest first."""

    experiment: str
    target: str
    runtime: str
    entries: tuple[Entry, ...]

    @property
    def last(self) -> Entry:
        """Return the newest run."""
        return self.entries[-1]

    def figures(self, name: str) -> list[float | None]:
        """Return one figure of each run; None where the run says nothing of it."""
        return [getattr(each, name) if each.conclusive else None for each in self.entries]


def trends(entries: Sequence[Entry], last: int) -> list[Trend]:
    """Return the last runs of each cell, the cells by name."""
    cells: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        cells.setdefault((entry.experiment, entry.target, entry.runtime), []).append(entry)
    return [Trend(*cell, tuple(found[-last:])) for cell, found in sorted(cells.items())]
