"""Tables of a target file whose ``kind`` names a file: found by looking, checked by its model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from lossmeter import plugins
from lossmeter.errors import UsageError
from lossmeter.plan.tables import Table, first_problem

# Who and where, as every library reads it: a raw / ? # @ or bracket in a password ends it
# early, and what is left of the password is told as a port or a host that is wrong.
_HOST = r"(?:\[[^]@/]*]|[^]\[:@/?#]*)(?::(?:[0-9]*|\{[\w.]+\}))?"
_URL = re.compile(rf"[\w+.-]+://(?:[^]\[@/?#]*@)?{_HOST}(?:,{_HOST})*(?:[/?#].*)?", re.DOTALL)
_SCHEME = re.compile(r"[\w+.-]+://")

Interpolate = Callable[[str], str]
"""Puts addresses in the place of ``{redis.url}`` and the like."""


class Options(Table):
    """The options of one kind, as its file defines them."""


def parse(package: ModuleType, what: str, target: str, table: Mapping[str, Any]) -> Any:
    """Return the checked options of a table.

    Raises:
        UsageError: the kind does not exist, or does not take these options.
    """
    given = dict(table)
    kind = str(given.pop("kind", None))
    known = plugins.names_in(package)
    if kind not in known:
        raise UsageError(f"target {target}: " + plugins.unknown(what, kind, known))
    for name, value in given.items():
        if isinstance(value, str) and _SCHEME.match(value) and not _URL.fullmatch(value):
            raise UsageError(
                f"target {target}: {what}.{name} is no URL: in a user or password / ? # @ [ ] are "
                "written %2F %3F %23 %40 %5B %5D"
            )
    module = plugins.load(package, kind, what)
    try:
        return module.Options.model_validate(given)
    except ValidationError as error:
        raise UsageError(f"target {target}: {what}.{first_problem(error)}") from None


def filled(value: Any, interpolate: Interpolate) -> Any:
    """Put addresses into every text that is not a template of an event."""
    if isinstance(value, dict):
        return {name: filled(each, interpolate) for name, each in value.items()}
    if isinstance(value, str) and "$" not in value:
        return interpolate(value)
    return value
