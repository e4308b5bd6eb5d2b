"""Models as JSON that UTF-8 can hold, whatever a message quotes."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError


def json_text(model: BaseModel) -> str:
    """Return a model as JSON; what UTF-8 cannot hold, as bytes of a file's name, is escaped."""
    try:
        return model.model_dump_json(indent=2)
    except PydanticSerializationError:
        return json.dumps(_in_utf8(model.model_dump(mode="json")), indent=2)


def _in_utf8(value: Any) -> Any:
    if isinstance(value, dict):
        return {_in_utf8(key): _in_utf8(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_in_utf8(each) for each in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
