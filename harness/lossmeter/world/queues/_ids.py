"""What a broker holds, event by event: the ids in its messages, and who owns them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from lossmeter.plan.kinds import Options as Common
from lossmeter.record.arrays import PAIR, Records
from lossmeter.record.whole import whole
from lossmeter.world.queues._bodies import Encoding, body_of

# What stands for a message that bears no id that can have been minted.
FOREIGN = (-1, -1)
ENTRY = np.dtype([*PAIR.descr, ("owned", "?"), ("age_s", "<f8")])
Pointer = Annotated[str, Field(pattern=r"^(/[^/]*)*$")]
# A number up to its end: the digits before a point or an exponent are those of another event.
_JSON = (
    r'"producer":\s*("?)(?P<producer>[0-9]+)\1\s*[,}].*?'
    r'"sequence":\s*("?)(?P<sequence>[0-9]+)\3\s*[,}]'
)


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text, re.DOTALL).groupindex
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    for name in ("producer", "sequence"):
        if name not in groups:
            raise ValueError(f"{text!r} has no group (?P<{name}>...): no event could be found")
    return text


def _several(given: object) -> object:
    return (given,) if isinstance(given, str) else given


class Ids(Common):
    """How an id is found in the text of a message.

    Attributes:
        pattern: a regular expression with the groups ``producer`` and ``sequence``; by default
            that of JSON which has these two, in this order.
        pointer: JSON pointers to the body in a message that is JSON, e.g. ``/body``; the first
            that leads somewhere counts. Without one the message is the body.
        encoding: how the body is encoded, the outermost first. Of a pickle, which is never
            loaded, the pattern is searched in the JSON list of its texts and numbers.
    """

    pattern: Annotated[str, AfterValidator(_pattern)] = _JSON
    pointer: Annotated[tuple[Pointer, ...], BeforeValidator(_several)] = ()
    encoding: tuple[Encoding, ...] = ()

    def of(self, message: str) -> tuple[int, int]:
        """Return the id in a message, or one that cannot have been minted."""
        body = body_of(message, self.pointer, self.encoding)
        found = None if body is None else re.search(self.pattern, body, re.DOTALL)
        return ident(found["producer"], found["sequence"]) if found else FOREIGN


def entries(found: Iterable[tuple[tuple[int, int], bool, float | None]]) -> Records:
    """Return an array of what is held, dtype ENTRY.

    Args:
        found: of each id whether somebody has it in hand, and for how many seconds it has been
            where it is; None where the broker does not say.
    """
    rows = [(*ids, owned, np.nan if age_s is None else age_s) for ids, owned, age_s in found]
    return np.array(rows, ENTRY)


def ident(producer: object, sequence: object) -> tuple[int, int]:
    """Return an id from two values of somebody's, or one that cannot have been minted."""
    ids = whole(producer), whole(sequence)
    return ids if min(ids) >= 0 else FOREIGN


def seconds(value: object) -> float | None:
    """Return an age from a value of somebody's; None where it is none."""
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None
