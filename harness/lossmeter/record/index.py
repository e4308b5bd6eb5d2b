"""An index of runs: SQLite, made from the run folders and made anew from them at any time.

The folders are the record, and each is judged from what it recorded; the index only saves
doing so once more. A folder that is gone is gone from the index too.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from lossmeter.errors import HarnessError, UsageError
from lossmeter.model import HELD, Verdict
from lossmeter.record.files import why
from lossmeter.record.manifest import state
from lossmeter.record.result import Result
from lossmeter.record.runs import DamagedRun, RecordedRun, read_run, run_folders

# Says that the file is ours, and of which layout; see SQLite's "Database File Format".
APPLICATION_ID = 0x4C4F5353
SCHEMA = 4
LOCKED_S = 30.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One run.

    Attributes:
        folder: name of its folder.
        state: changes with any file that it recorded, and with the budgets in force.
        begun: UTC, ISO 8601; empty where the run did not record it.
        lost, dead_lettered, pending, stranded, late, unresolved, duplicated: events; None where
            they were not measured.
        recovery_s: seconds; None where it was not seen.
        throughput_per_s: rows persisted per second between the first and the last.
        latency_p99_ms: from the scheduled time to the ack.
    """

    folder: str
    state: str
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
    dead_lettered: int | None
    pending: int | None
    stranded: int | None
    late: int | None
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
_TYPES = {
    "str": "text not null",
    "int": "integer not null",
    "int | None": "integer",
    "float | None": "real",
}
_CREATE = (
    f"create table runs ({', '.join(f'{f.name} {_TYPES[str(f.type)]}' for f in fields(Entry))}, "
    "primary key (folder)) strict"
)
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
        judge: returns the judgement of a recorded run.
        budgets: changes with the budgets that ``judge`` goes by.
    """

    file: Path
    runs: Path
    judge: Callable[[RecordedRun], Result]
    budgets: str = ""

    def refresh(self) -> list[str]:
        """Bring the index up to the run folders; return a sentence for each damaged one.

        Raises:
            UsageError: the file holds something else, or cannot be written; or the run
                folders cannot be listed.
        """
        with self._open() as connection:
            known = dict(connection.execute("select folder, state from runs"))
        present, damaged, anew = set(), [], []
        for folder in run_folders(self.runs):
            try:
                now = self._state(folder)
                if known.get(folder.name) != now:
                    anew.append(astuple(self._entry(folder, now)))
                present.add(folder.name)
            except (HarnessError, OSError, ValueError) as error:
                said = why(error) if isinstance(error, OSError) else str(error)
                damaged.append(f"{folder.name}: {said}")
        gone = [(name,) for name in known if name not in present]
        with self._open() as connection:
            connection.executemany(_INSERT, anew)
            connection.executemany("delete from runs where folder = ?", gone)
        return damaged

    def _state(self, folder: Path) -> str:
        return hashlib.sha256(f"{self.budgets}\n{state(folder)}".encode()).hexdigest()

    def _entry(self, folder: Path, now: str) -> Entry:
        run = read_run(folder)
        if isinstance(run, DamagedRun):
            raise UsageError(run.why)
        return _entry(run, self.judge(run), now)

    def entries(self, of: Filter) -> list[Entry]:
        """Return the runs that are asked for, the oldest first."""
        asked = {f.name: getattr(of, f.name) for f in fields(of) if getattr(of, f.name) is not None}
        where = " and ".join(f"{name} = ?" for name in asked) or "true"
        query = f"{_SELECT} where {where} order by begun, folder"
        with self._open() as connection:
            return [Entry(*row) for row in connection.execute(query, tuple(asked.values()))]

    def folder(self, name: str) -> Path | None:
        """Return the folder of a run; None when there is none of exactly that name."""
        return next((folder for folder in run_folders(self.runs) if folder.name == name), None)

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
        except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
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


def _entry(run: RecordedRun, result: Result, now: str) -> Entry:
    counts = {
        name: result.count(name) for name in ("lost", *HELD, "late", "unresolved", "duplicated")
    }
    begun = run.facts.begun
    return Entry(
        folder=run.folder.name,
        state=now,
        begun=begun.isoformat(timespec="seconds") if begun else "",
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
