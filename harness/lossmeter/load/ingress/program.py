"""A program of the user's, in any language: ``docs/ingress-programs.md`` has its protocol."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic import field_validator as validator

from lossmeter.load.ingress._options import Options as Common
from lossmeter.plan.kinds import Interpolate


class Options(Common):
    """``command``: the program and its arguments; ``{python}`` and addresses are put in."""

    given: Annotated[tuple[str, ...], Field(min_length=1, alias="command")]

    @validator("given")
    @classmethod
    def _named(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if not given[0].strip():
            raise ValueError("the first word is the program, and it is empty")
        return given

    def command(self, interpolate: Interpolate) -> list[str]:
        """Return the command of the program."""
        return [interpolate(word) for word in self.given]
