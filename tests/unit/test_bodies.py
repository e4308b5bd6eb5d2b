"""Ids in messages whose bodies are encoded; whatever a body holds, nothing of it is run."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lossmeter.world.queues._bodies import body_of
from lossmeter.world.queues._ids import FOREIGN, Ids

BODY = b'{"producer": 4, "sequence": 9}'


def text(data: bytes) -> str:
    """Return bytes as a reader of a broker hands them over."""
    return data.decode("utf-8", "surrogateescape")


def ids(**options: Any) -> Ids:
    return Ids.model_validate(options)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (text(BODY), {}),
        (text(base64.b64encode(BODY)), {"encoding": ["base64"]}),
        (text(zlib.compress(BODY)), {"encoding": ["zlib"]}),
        (text(gzip.compress(BODY, mtime=0)), {"encoding": ["gzip"]}),
        (text(base64.b64encode(zlib.compress(BODY))), {"encoding": ["base64", "zlib"]}),
        (json.dumps({"a/b": [text(BODY)]}), {"pointer": "/a~1b/0"}),
        (json.dumps([{"body": text(BODY)}]), {"pointer": ["/body", "/0/body"]}),
        (json.dumps({"body": json.loads(BODY)}), {"pointer": "/body"}),
    ],
    ids=range(8),
)
def test_an_id_is_found_in_what_is_undone(message: str, options: dict[str, Any]) -> None:
    assert ids(**options).of(message) == (4, 9)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_texts_and_numbers_of_a_pickle_are_found_in_their_order(protocol: int) -> None:
    job = ("jobs.notify", None, (4, 9), {"again": "jobs.notify", "ratio": 0.5})
    found = body_of(text(pickle.dumps(job, protocol)), (), ("pickle",))
    assert found is not None
    assert json.loads(found) == ["jobs.notify", 4, 9, "again", "jobs.notify", "ratio", 0.5]


class _Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_what_a_pickle_asks_for_is_not_done(tmp_path: Path) -> None:
    path = tmp_path / "made"
    harmful = pickle.dumps((4, 9, _Harmful(path)))
    found = body_of(text(harmful), (), ("pickle",))
    assert found is not None
    assert json.loads(found)[:2] == [4, 9]
    assert not path.exists()
    pickle.loads(harmful)
    assert path.exists(), "it would have done it"


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("no base64: ä", {"encoding": ["base64"]}),
        (text(zlib.compress(BODY)[:-3]), {"encoding": ["zlib"]}),
        (text(zlib.compress(bytes(1 << 25))), {"encoding": ["zlib"]}),
        (text(pickle.dumps((4, 9))[:-1]), {"encoding": ["pickle"]}),
        (text(BODY), {"pointer": "/body"}),
        ("[" * 100_000, {"pointer": "/body"}),
        ("no JSON", {"pointer": "/body"}),
    ],
    ids=range(7),
)
def test_what_cannot_be_undone_is_no_event_of_the_run(
    message: str, options: dict[str, Any]
) -> None:
    assert ids(**options).of(message) == FOREIGN


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_not_and_raise_nothing(data: bytes) -> None:
    for encoding in ("base64", "zlib", "gzip", "pickle"):
        ids(encoding=[encoding]).of(text(data))
    ids(pointer="/0").of(text(data))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoding": ["rot13"]}, "'base64', 'zlib', 'gzip' or 'pickle'"),
        ({"pointer": "x"}, "match pattern"),
    ],
)
def test_what_is_not_known_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ids(**options)
