"""Sends dead letters again: by the dispatcher's own way, or out of a table or a file.

A letter is taken away only when its event was accepted. One whose answer never came is kept,
so it may come twice; nothing is lost by a replay that breaks off.
"""

from __future__ import annotations

import json
import os
import string
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from harness.errors import CollectError, TargetError, UsageError
from harness.model import Status
from harness.target import EVENT_FIELDS, Target

CONNECT_S = 5


@dataclass(slots=True)
class Replayed:
    """What became of dead letters: events accepted, refused, and of unknown fate."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0

    @property
    def kept(self) -> int:
        """Return how many stay where they were."""
        return self.refused + self.unknown

    def count(self, status: Status) -> None:
        """Count one letter."""
        match status:
            case Status.ACKED:
                self.accepted += 1
            case Status.REFUSED:
                self.refused += 1
            case _:
                self.unknown += 1

    def __str__(self) -> str:
        told = f"{self.accepted} dead letter{'' if self.accepted == 1 else 's'} replayed"
        if self.kept:
            told += f", {self.kept} kept ({self.refused} refused, {self.unknown} without an answer)"
        return told


def by_endpoint(url: str, target: Target) -> Replayed:
    """Have the dispatcher replay its own dead letters.

    Raises:
        UsageError: the target file names no such path.
        TargetError: it does not answer, or not as it should.
    """
    path = target.dead_letters.replay
    if path is None:
        raise UsageError(
            f"target {target.name} has no dead_letters.replay; name a path of the dispatcher that "
            "replays, or say with --from where its dead letters are"
        )
    answer = _post(url, path, b"", target.http.timeout_s)
    if answer is None:
        raise TargetError(f"{url}{path} does not answer")
    status, body = answer
    told = _object(body)
    if status not in target.http.accepted and status // 100 != 2:
        raise TargetError(f"{url}{path} answers {status}: {body[:200].decode(errors='replace')}")
    number = told.get("replayed")
    if not isinstance(number, int):
        raise TargetError(
            f"{url}{path} does not say how many were replayed, as in {{'replayed': 3}}"
        )
    return Replayed(accepted=number)


def from_table(url: str, target: Target, database: str) -> Replayed:
    """Send the dead letters of a table; each is deleted in the transaction that sent it.

    Raises:
        UsageError: the target file does not say how to read the table, or it cannot be read.
        CollectError: the database went away.
    """
    letters = target.dead_letters
    if letters.query is None or letters.remove is None:
        raise UsageError(
            f"target {target.name} does not say how its dead letters are read: give "
            "dead_letters.query and dead_letters.remove"
        )
    done = Replayed()
    try:
        # Two connections: the second one's transactions must not end the first one's reading.
        with (
            psycopg.connect(database, connect_timeout=CONNECT_S, autocommit=True) as reading,
            psycopg.connect(database, connect_timeout=CONNECT_S) as removing,
        ):
            rows = reading.cursor(row_factory=dict_row).execute(letters.query.encode()).fetchall()
            for row in rows:
                _take(url, target, removing, row, done)
    except psycopg.OperationalError as error:
        raise CollectError(f"the dead letters cannot be read: {_line(error)}") from None
    except psycopg.Error as error:
        raise UsageError(f"target {target.name}: dead_letters: {_line(error)}") from None
    return done


def _take(
    url: str,
    target: Target,
    removing: psycopg.Connection[tuple[Any, ...]],
    row: Mapping[str, Any],
    done: Replayed,
) -> None:
    if "id" not in row:
        raise UsageError(f"target {target.name}: dead_letters.query returns no column 'id'")
    # Deleted first and sent then: who deletes the row has it for himself until the commit.
    remove = (target.dead_letters.remove or "").encode()
    taken = removing.execute(remove, {"id": row["id"]})
    if taken.rowcount != 1:
        removing.rollback()
        return
    status = _send(url, target, row)
    done.count(status)
    if status is Status.ACKED:
        removing.commit()
    else:
        removing.rollback()


def from_file(url: str, target: Target, path: Path) -> Replayed:
    """Send the dead letters of a file, which is set aside first and kept.

    What is not accepted is written back to where the file was.

    Raises:
        UsageError: the file is missing, or a line of it is not a letter; nothing was sent.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.replayed-{stamp}")
    try:
        list(_letters(path))
        path.rename(aside)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    done, lines, sent = Replayed(), list(_letters(aside)), 0
    try:
        while sent < len(lines):
            line, letter = lines[sent]
            status = _send(url, target, letter)
            done.count(status)
            if status is not Status.ACKED:
                _write_back(path, line)
            sent += 1
            if sent == len(lines):
                # A dispatcher that had the file open may have written one more.
                lines = list(_letters(aside))
    finally:
        for line, _ in lines[sent:]:
            _write_back(path, line)
    return done


def _letters(path: Path) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Yield each line of a file and what it says."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict) or not {"producer", "sequence"} <= set(told):
            raise UsageError(
                f"{path}, line {number}, is not a dead letter: right is a JSON object with "
                "producer and sequence"
            )
        yield line, told


def _write_back(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


# Sending.


def _send(url: str, target: Target, letter: Mapping[str, Any]) -> Status:
    """Send one event and return what its producer was told."""
    http = target.http
    known = {name: _as_json(letter.get(name, "")) for name in EVENT_FIELDS}
    body = string.Template(http.body).substitute(known).encode()
    answer = _post(url, http.events, body, http.timeout_s)
    if answer is None:
        return Status.UNKNOWN
    if answer[0] in http.accepted:
        return Status.ACKED
    return Status.REFUSED if answer[0] in http.refused else Status.UNKNOWN


def _as_json(value: object) -> str:
    """Return a value as it stands within JSON, text without its quotes."""
    told = json.dumps(value)
    return told[1:-1] if isinstance(value, str) else told


def _post(url: str, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes] | None:
    parts = urlsplit(url)
    where = parts.hostname or "127.0.0.1"
    with closing(HTTPConnection(where, parts.port or 80, timeout=timeout_s)) as connection:
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            # Nothing was sent, and the next one would fare no better.
            raise TargetError(f"nobody listens on {url}; is the dispatcher running?") from None
        except (OSError, HTTPException):
            return None


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
