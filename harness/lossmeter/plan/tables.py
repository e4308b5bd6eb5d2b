"""Reads TOML files that people write: each that cannot be used is refused in one sentence."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from lossmeter.errors import UsageError

# Beyond these no file of this project means anything.
DEEPEST = 16
LARGEST_BYTES = 1 << 20
# What TOML promises that every reader takes.
LARGEST_NUMBER = 2**63 - 1


def read_tables(path: Path, what: str = "file") -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        UsageError: it is missing, cannot be read, is not TOML, or holds what no file of
            this project may: tables nested too deep, numbers that are not finite or have
            more than 64 bits.
    """
    text = read_text(path, what)
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{path} is nested deeper than {DEEPEST} tables") from None
    except ValueError as error:  # Numbers of too many digits are one too.
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    _check(path, tables)
    return tables


def read_text(path: Path, what: str = "file") -> str:
    """Return the text of a file that a person writes.

    Raises:
        UsageError: it is missing, no regular file, too large, unreadable, or not UTF-8.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{what} {path} cannot be read: it is no regular file")
        if found.st_size > LARGEST_BYTES:
            raise UsageError(f"{what} {path} is larger than {LARGEST_BYTES >> 20} MiB")
        # Editors of Windows put a mark of the order of bytes in front.
        return path.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{what} {path} does not exist") from None
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None


def _check(path: Path, tables: dict[str, Any]) -> None:
    """Refuse what would fail somewhere deep inside; without recursion, which fails itself."""
    left: list[tuple[tuple[str, ...], object]] = [((), tables)]
    while left:
        where, value = left.pop()
        if len(where) > DEEPEST:
            raise UsageError(f"{path} is nested deeper than {DEEPEST} tables")
        if isinstance(value, dict):
            left += [((*where, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            left += [((*where, str(place)), inner) for place, inner in enumerate(value)]
        elif isinstance(value, (int, float)) and not usable(value):
            *tables_, name = where
            raise UsageError(
                f"{path}: [{'.'.join(tables_)}] {name} is not a finite number of 64 bits"
            )


def usable(number: float) -> bool:
    """Return whether a number is finite and within 64 bits; integers of any length are taken."""
    return -LARGEST_NUMBER <= number <= LARGEST_NUMBER


class Table(BaseModel):
    """A table of such a file: without unknown keys, and numbers are numbers.

    Unlike a strict model it takes what TOML has no type of its own for, such as a path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true, and digits in quotes, where only a number may stand."""
        field = cls.model_fields[str(info.field_name)]
        taken = _types(field.annotation)
        number = bool(taken & {int, float}) and not taken & {bool, str, object, Any}
        if number and isinstance(value, bool | str):
            shown = f"{value}".lower() if isinstance(value, bool) else f"the text {value!r}"
            raise ValueError(f"must be a number, and is {shown}")
        return value


def _types(annotation: Any) -> set[Any]:
    """Return the types of which a value may be one; of a container ``object``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {type(value) for value in inner}
    if origin is Annotated:
        return _types(inner[0])
    if origin in {Union, UnionType}:
        return set[Any]().union(*map(_types, inner))
    return {annotation if origin is None else object}


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation as one sentence: where and what."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
