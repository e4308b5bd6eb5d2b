"""Dead letters that a target keeps in a file, a JSON object a line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from lossmeter.errors import CollectError
from lossmeter.record.arrays import PAIR, Records
from lossmeter.record.files import read_bytes, why
from lossmeter.record.whole import FOREIGN, whole

_MOST_DIGITS = 20
_NUMBER = re.compile(r" *[+-]?[0-9]+ *", re.ASCII)


def read_letters(path: Path) -> Records:
    """Return the events of a file with a JSON object a line.

    A last line without its end was cut short by a kill: what it names was not kept.

    Raises:
        CollectError: it is no regular file; or a line is none, or does not name an event.
    """
    try:
        lines = read_bytes(path).split(b"\n")[:-1]
    except OSError as error:
        raise CollectError(f"{path} cannot be read: it {why(error)}") from None
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            letter = json.loads(line, parse_int=_digits)
            pairs.append((_whole(letter["producer"]), _whole(letter["sequence"])))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise CollectError(
                f"line {number} of {path} is not a JSON object with producer and sequence"
            ) from None
    return np.array(pairs, PAIR)


def _whole(number: object) -> int:
    """Return what of a line is to be an id; raises TypeError where it is none at all."""
    if isinstance(number, bool) or not isinstance(number, str | int | float):
        raise TypeError("not a number")
    if isinstance(number, str) and _NUMBER.fullmatch(number) is None:
        raise ValueError("not a number")
    return whole(number)


def _digits(text: str) -> int:
    return int(text) if len(text) <= _MOST_DIGITS else FOREIGN
