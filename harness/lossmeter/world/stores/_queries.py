"""What the stores that speak SQL have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lossmeter.plan.kinds import Options as Common

# Strings and names may hold what looks like the end of a statement, or like a comment.
_TOKEN = re.compile(
    r"""[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \$(\w*)\$.*?\$\1\$
    | (?P<idle>--[^\n]* | /\*.*?\*/ | [\s;]+) | .""",
    re.DOTALL | re.VERBOSE,
)
_ARRAYS = {"rows": "query", "dead_lettered": "dead_letter_query", "pending": "pending_query"}


class Queries(Common):
    """Queries of one row per event, with the columns ``producer`` and ``sequence``.

    Attributes:
        query: of what was persisted; optionally with ``payload_hash`` (first 8 bytes of the
            payload's MD5, as a number), ``position`` (order of persisting) and
            ``persisted_at``. The shared options say what else a kind takes.
        count_query: returns one number, how many there are: for tables that are too large
            for ``query`` to be counted a hundred times a second, as the condition
            ``persisted`` wants.
        dead_letter_query, pending_query: of events that are accounted for there.
    """

    query: str
    count_query: str | None = None
    dead_letter_query: str | None = None
    pending_query: str | None = None

    @property
    def sources(self) -> Mapping[str, str]:
        """Return the names of the queries that there are, by the array that each fills."""
        return {a: name for a, name in _ARRAYS.items() if getattr(self, name) is not None}

    def text(self, name: str) -> str:
        """Return a query, fit to be a subquery."""
        return bare(str(getattr(self, name)))


def bare(query: str) -> str:
    """Return a query without what may end a statement but not a subquery.

    These are semicolons, and comments there.
    """
    end = max((found.end() for found in _TOKEN.finditer(query) if not found["idle"]), default=0)
    return query[:end]
