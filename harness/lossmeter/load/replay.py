"""Sends dead letters again: by the dispatcher's own way, or out of a table or a file.

A letter is taken away only when its event was accepted. One whose answer never came is kept,
so it may come twice; nothing is lost by a replay that breaks off.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from lossmeter.errors import CollectError, TargetError, UsageError
from lossmeter.model import Status
from lossmeter.plan.http import EVENT_FIELDS
from lossmeter.plan.target import Target
from lossmeter.record.files import append, read_bytes
from lossmeter.world.caller import Caller
from lossmeter.world.http_client import Answer
from lossmeter.world.sessions import connect

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
        reported = f"{self.accepted:,} dead letter{'' if self.accepted == 1 else 's'} replayed"
        if self.kept:
            reported += (
                f", {self.kept:,} kept ({self.refused:,} refused, "
                f"{self.unknown:,} without an answer)"
            )
        return reported


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
    answer = _Dispatcher(url, target).post(path, b"")
    if answer is None:
        raise TargetError(f"{url}{path} does not answer")
    if answer.status not in target.http.accepted and answer.status // 100 != 2:
        text = answer.body[:200].decode(errors="replace")
        raise TargetError(f"{url}{path} answers {answer.status}: {text}")
    number = (answer.json_object() or {}).get("replayed")
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
    dispatcher, done = _Dispatcher(url, target), Replayed()
    try:
        # Two connections: the second one's transactions must not end the first one's reading.
        with (
            connect(database, connect_timeout=CONNECT_S, autocommit=True) as reading,
            connect(database, connect_timeout=CONNECT_S) as removing,
        ):
            rows = reading.cursor(row_factory=dict_row).execute(letters.query.encode()).fetchall()
            # What is wrong with one is said before any is sent.
            bodies = [_checked(target, row) for row in rows]
            for row, body in zip(rows, bodies, strict=True):
                _take(dispatcher, target, removing, (row["id"], body), done)
    except TargetError as error:
        raise _with_count(error, done) from None
    except psycopg.OperationalError as error:
        raise CollectError(f"the dead letters cannot be read: {_line(error)}") from None
    except psycopg.Error as error:
        raise UsageError(f"target {target.name}: dead_letters: {_line(error)}") from None
    return done


def _checked(target: Target, row: Mapping[str, Any]) -> bytes:
    for name in ("id", "producer", "sequence"):
        if name not in row:
            raise UsageError(f"target {target.name}: dead_letters.query returns no column {name!r}")
    return _body(target, row)


def _with_count(error: TargetError, done: Replayed) -> TargetError:
    """Return an error that ends a replay, with what had been done by then."""
    return TargetError(f"{error}; {done}") if done.accepted or done.kept else error


def _take(
    dispatcher: _Dispatcher,
    target: Target,
    removing: psycopg.Connection[tuple[Any, ...]],
    letter: tuple[object, bytes],
    done: Replayed,
) -> None:
    """Send one letter, its id and body, and remove it if it was accepted."""
    letter_id, body = letter
    # Deleted first and sent then: who deletes the row has it for himself until the commit.
    remove = (target.dead_letters.remove or "").encode()
    taken = removing.execute(remove, {"id": letter_id})
    if taken.rowcount != 1:
        removing.rollback()
        return
    status = dispatcher.send(body)
    done.count(status)
    if status is Status.ACKED:
        removing.commit()
    else:
        removing.rollback()


def from_file(url: str, target: Target, path: Path, *, may_be_missing: bool = False) -> Replayed:
    """Send the dead letters of a file, which is set aside first and kept.

    What is not accepted is written back to where the file was. A dispatcher makes the file
    anew for its next dead letter; until then there is none, if it ``may_be_missing``.

    Raises:
        UsageError: the file is missing, or a line of it is not a letter; nothing was sent.
    """
    if may_be_missing and path.parent.is_dir() and not path.exists():
        return Replayed()
    dispatcher = _Dispatcher(url, target)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.replayed-{stamp}")
    try:
        for _, letter in _letters(path):
            _body(target, letter)
        path.rename(aside)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    done, lines, sent = Replayed(), list(_letters(aside)), 0
    try:
        while sent < len(lines):
            line, letter = lines[sent]
            status = dispatcher.send(_body(target, letter))
            done.count(status)
            if status is not Status.ACKED:
                append(path, line + b"\n")
            sent += 1
            if sent == len(lines):
                # A dispatcher that had the file open may have written one more.
                lines = list(_letters(aside))
    except TargetError as error:
        raise _with_count(error, done) from None
    finally:
        for line, _ in lines[sent:]:
            append(path, line + b"\n")
    return done


def _letters(path: Path) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Yield each line of a file and what it says."""
    # Lines end as their writer ends them; other breaks may stand within a text.
    for number, line in enumerate(read_bytes(path).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            reported = json.loads(line)
        except (ValueError, RecursionError):
            reported = None
        if not isinstance(reported, dict) or not {"producer", "sequence"} <= set(reported):
            raise UsageError(
                f"{path}, line {number}, is not a dead letter: right is a JSON object with "
                "producer and sequence"
            )
        yield line, reported


# Sending.


class _Dispatcher:
    """The one that takes the letters; raises UsageError where its file's secrets are not there."""

    def __init__(self, url: str, target: Target) -> None:
        self._url, self._http, self._caller = url, target.http, Caller(target.http)

    def send(self, body: bytes) -> Status:
        """Send one event and return what became of it."""
        http = self._http
        answer = self.post(http.events, body, http.method)
        if answer is None:
            return Status.UNKNOWN
        if answer.status in http.accepted:
            return Status.ACKED
        return Status.REFUSED if answer.status in http.refused else Status.UNKNOWN

    def post(self, path: str, body: bytes, method: str = "POST") -> Answer | None:
        """Send a request; None where no answer came.

        Raises:
            TargetError: nobody listens, so the next one would fare no better.
        """
        with closing(self._caller.connection(self._url, self._http.timeout_s)) as connection:
            try:
                return self._caller.exchange(connection, path, method=method, body=body)
            except ConnectionRefusedError:
                raise TargetError(
                    f"nobody listens on {self._url}; is the dispatcher running?"
                ) from None
            except (OSError, HTTPException):
                return None


def _body(target: Target, letter: Mapping[str, Any]) -> bytes:
    """Return an event's JSON, from the template of the target file.

    Raises:
        UsageError: a column cannot be put into it.
    """
    known = {name: _as_json(name, letter.get(name, "")) for name in EVENT_FIELDS}
    body = string.Template(target.http.body).substitute(known)
    try:
        json.loads(body)
    except ValueError:
        raise UsageError(
            f"target {target.name}: a dead letter does not fit http.body: it makes {body[:200]!r}, "
            "which is not JSON"
        ) from None
    return body.encode()


def _as_json(name: str, value: object) -> str:
    """Return a value as it stands within JSON: numbers as they are, text without its quotes.

    The payload is text, whatever its column's type: a document of JSON is the text of it.

    Raises:
        UsageError: a column is NULL, or of a type that no event has.
    """
    if name != "payload":
        if isinstance(value, Decimal) and value.is_finite() and value == int(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise UsageError(f"dead letters: column {name} is {value!r}; right is a whole number")
        return str(value) if isinstance(value, int) else json.dumps(value)[1:-1]
    if isinstance(value, (bytes, memoryview)):
        value = _text_of(bytes(value))
    if isinstance(value, (dict, list, bool, float)):
        value = json.dumps(value)
    if value is None:
        raise UsageError("dead letters: column payload is NULL; right is a text, maybe empty")
    return json.dumps(str(value))[1:-1]


def _text_of(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UsageError(
            "dead letters: column payload holds bytes that are no UTF-8; have the query "
            "encode them, as the dispatcher takes them"
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
