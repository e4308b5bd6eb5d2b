"""A program of the user's that prints what was persisted: JSON lines, or CSV with a header."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Literal, Self

from pydantic import Field, model_validator

from lossmeter.errors import CollectError, UsageError
from lossmeter.plan.kinds import Interpolate
from lossmeter.world.isolation import target_environment
from lossmeter.world.ownership import inherited_mark
from lossmeter.world.programs import Ended
from lossmeter.world.stores import Columns
from lossmeter.world.stores._records import UNDATED, Record, RecordStore, Shape
from lossmeter.world.stores._values import Counting

# A program costs more than a query, so it is not asked a hundred times a second.
_COUNTED_EVERY_S = 0.5
_LAST_BYTES = 300
# As long as a payload may be; the module's own limit is that of a spreadsheet.
_LONGEST_FIELD = 1 << 24


class Options(Shape):
    """Which program, and where things stand in what it prints.

    Attributes:
        command: the program and its arguments; ``{python}`` and addresses are put in.
        format: of what it prints; for CSV the fields are the columns of the first line.
        environment: variables, in which ``{redis.url}`` and the like are put in.
        folder: its working folder, beside the target file; empty for that folder itself.
        within_s: it must have ended.
    """

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    format: Literal["json", "csv"] = "json"
    environment: dict[str, str] = Field(default_factory=dict)
    folder: str = ""
    within_s: Annotated[float, Field(gt=0, le=600)] = 60.0

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        program = self.command[0]
        known = "{" in program or shutil.which(program, path=_path(self.folder)) is not None
        if not known and not os.access(Path(self.folder, program), os.X_OK):
            raise ValueError(f"command: there is no program {program!r}")
        if self.format == "csv" and self.pattern is not None:
            raise ValueError("format csv has columns; leave out pattern")
        return self

    def open(self, interpolate: Interpolate) -> Store:
        """Return what runs the program."""
        return Store(self, interpolate)


class Store(RecordStore):
    """Runs the program for each reading; it says what there is now."""

    sources = {"rows": "command"}  # noqa: RUF012 - never changed

    def __init__(self, asked: Options, interpolate: Interpolate) -> None:
        super().__init__(asked)
        self._asked, self._interpolate = asked, interpolate
        self._words = [interpolate(word) for word in asked.command]
        own = {name: interpolate(value) for name, value in asked.environment.items()}
        plain = ["{python}"] if self._words[0] == sys.executable else []
        self._environment = target_environment(plain) | inherited_mark() | own
        self._folder = asked.folder or interpolate("{run_folder}")
        self._header: list[str] = []

    def check(self) -> Columns:
        """Return what is known of each record, after a trial."""
        columns = super().check()
        named = self.shape.named
        for needed in ("producer", "sequence"):
            if self._header and named[needed] not in self._header:
                raise UsageError(
                    f"persisted.command must print the column {named[needed]!r}; it prints "
                    f"{', '.join(self._header)}"
                )
        return columns

    def count(self, array: str) -> int:
        """Return how many records it prints."""
        return sum(1 for _ in self.records(array))

    def records(self, source: str) -> Iterator[Record]:
        """Yield what it prints."""
        del source
        words = self._words
        # On the disk, however much it prints.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            try:
                code: int | None = subprocess.run(
                    words,
                    env=self._environment,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    timeout=self._asked.within_s,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                code = None
            except OSError as error:
                raise CollectError(
                    f"persisted.command: {words[0]} cannot be started: {error.strerror}"
                ) from None
            errors.seek(-min(_LAST_BYTES, errors.seek(0, os.SEEK_END)), os.SEEK_END)
            said = errors.read().decode("utf-8", "replace")
            Ended(Path(words[0]).name, self._asked.within_s, code, err=said).checked(
                CollectError, "persisted.command"
            )
            out.seek(0)
            for number, record in enumerate(self._parted(out)):
                yield record, number, UNDATED

    def _parted(self, out: IO[bytes]) -> Iterator[bytes | Mapping[str, object]]:
        if self._asked.format == "json":
            yield from (line for line in out if line.strip())
            return
        csv.field_size_limit(_LONGEST_FIELD)
        table = csv.DictReader(line.decode("utf-8", "replace") for line in out)
        try:
            self._header = [str(name) for name in table.fieldnames or ()]
            yield from table
        except csv.Error as error:
            raise CollectError(f"persisted.command: what it prints is no CSV: {error}") from None

    def place(self, source: str, number: int) -> str:
        """Return which record it is."""
        del source
        return f"record {number} that it prints"

    def absent(self) -> str:
        """Return nothing: it says itself what there is."""
        return ""

    def counter(self) -> Counting:
        """Return what counts the records now and then."""
        return Counting(self.again(), _COUNTED_EVERY_S)

    def again(self) -> Self:
        """Return another that runs the same."""
        return type(self)(self._asked, self._interpolate)


def _path(folder: str) -> str:
    """Return where a program is looked for."""
    return os.pathsep.join(filter(None, (os.environ.get("PATH", ""), folder)))
