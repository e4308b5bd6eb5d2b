"""A callable of the user's own code, such as ``tasks:notify.delay``, called for each event.

It runs in the user's interpreter, by a script that needs nothing but the standard library.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lossmeter.load.ingress._options import OPTIONS_VARIABLE, names_the_event
from lossmeter.load.ingress._options import Options as Common
from lossmeter.plan.kinds import Interpolate

SCRIPT = Path(__file__).with_name("_call.py")
_CALL = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class Options(Common):
    """The callable, its arguments, and which exceptions mean refused.

    Attributes:
        call: ``module:function``, or ``module:object.method``; a coroutine function is awaited.
        arguments: what it is called with; in text ``$producer``, ``$sequence`` and
            ``$payload`` are filled in, and text that is nothing but ``$producer`` or
            ``$sequence`` becomes a number. By default one mapping with all three.
        keywords: the same by name.
        refused: exceptions by ``module.Class`` that prove that the event had no effect;
            every other one leaves it unknown.
        python: the interpreter.
        threads: calls at once.
    """

    call: Annotated[str, Field(pattern=_CALL)]
    arguments: tuple[Any, ...] | None = None
    keywords: dict[str, Any] = Field(default_factory=dict)
    refused: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")], ...] = ()
    python: str = "{python}"
    threads: Annotated[int, Field(ge=1, le=256)] = 8

    @model_validator(mode="after")
    def _carries_the_id(self) -> Self:
        if self.arguments is not None or self.keywords:
            names_the_event(" ".join(_texts([*(self.arguments or ()), self.keywords])))
        return self

    def command(self, interpolate: Interpolate) -> list[str]:
        """Return the command of the program."""
        return [interpolate(self.python), "-u", str(SCRIPT)]

    def variables(self, interpolate: Interpolate) -> dict[str, str]:
        """Return the user's variables, and what is to be called."""
        asked = self.model_dump(
            mode="json", include={"call", "arguments", "keywords", "refused", "threads"}
        )
        return super().variables(interpolate) | {OPTIONS_VARIABLE: json.dumps(asked)}


def _texts(value: object) -> list[str]:
    """Return every text in nested lists and mappings."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _texts(each)]
    return []
