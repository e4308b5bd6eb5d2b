"""HTTP: a number on a page, by a JSON pointer or the name of a metric of Prometheus; a list."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Annotated, Self

from pydantic import Field, model_validator

from lossmeter.errors import UsageError
from lossmeter.plan.kinds import Interpolate
from lossmeter.plan.kinds import Options as Common
from lossmeter.record.arrays import Records
from lossmeter.world.queues._bodies import pointed
from lossmeter.world.queues._ids import Pointer, entries, ident, seconds

_WITHIN_S = 1.0
_MOST_BYTES = 1 << 22
# A page on this machine's loopback is never asked for through a proxy.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Pending(Common):
    """Where a list of the events that are not done stands.

    Each is an object with ``producer`` and ``sequence``, and may have ``owned``, whether
    somebody has it in hand, and ``age_s``, for how long it has been so. ``url`` is by default
    the page of the number.
    """

    url: str = ""
    pointer: Pointer = ""


class Options(Common):
    """Where the number stands.

    Attributes:
        url: of the page.
        pointer: into its JSON, as in RFC 6901, e.g. ``/queues/0/length``.
        metric: name of a metric, or name and labels as they stand there,
            ``jobs_waiting{queue="mail"}``; of several that match, the sum.
    """

    url: str
    pointer: Pointer | None = None
    metric: Annotated[str, Field(pattern=r"^[a-zA-Z_:][\w:]*(\{.*\})?$")] | None = None
    pending: Pending | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.pointer is None) == (self.metric is None):
            raise ValueError("give exactly one of pointer (into JSON) and metric (of Prometheus)")
        return self

    def open(self, interpolate: Interpolate) -> Length:
        """Return what reads the page."""
        return Length(interpolate(self.url), self.pointer, self.metric)

    def ids(self, interpolate: Interpolate) -> Listed | None:
        """Return what reads the list."""
        if self.pending is None:
            return None
        return Listed(interpolate(self.pending.url or self.url), self.pending.pointer)


class Length:
    """Reads the page anew each time.

    Raises:
        UsageError: at a reading, the page has no such number.
    """

    def __init__(self, url: str, pointer: str | None, metric: str | None) -> None:
        self._url, self._pointer, self._metric = url, pointer, metric

    def __call__(self) -> int | None:
        """Return how many events wait now; None while nobody answers."""
        page = _page(self._url)
        if page is None:
            return None
        if self._pointer is not None:
            return _number(page, self._pointer)
        return summed(page.decode("utf-8", "replace"), self._metric or "")

    def close(self) -> None:
        """Do nothing: no connection stays open."""


class Listed:
    """Reads the list anew each time.

    Raises:
        UsageError: at a reading, the page has no such list.
    """

    leaves_no_trace = True

    def __init__(self, url: str, pointer: str) -> None:
        self._url, self._pointer = url, pointer

    def __call__(self) -> Records | None:
        """Return the events that are not done, dtype ENTRY; None while nobody answers."""
        page = _page(self._url)
        if page is None:
            return None
        try:
            listed = pointed(json.loads(page), self._pointer)
            found = [
                (ident(e["producer"], e["sequence"]), bool(e.get("owned")), seconds(e.get("age_s")))
                for e in listed
            ]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UsageError(
                f"queue.pending.pointer: {self._pointer!r} names no list of objects with producer "
                "and sequence on the page"
            ) from None
        return entries(found)

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def _page(url: str) -> bytes | None:
    try:
        with _OPENER.open(url, timeout=_WITHIN_S) as answer:
            page: bytes = answer.read(_MOST_BYTES)
    except (urllib.error.URLError, OSError):
        return None
    return page


def _number(page: bytes, pointer: str) -> int:
    """Return the number that a JSON pointer names.

    Raises:
        UsageError: there is none.
    """
    try:
        return _whole(pointed(json.loads(page), pointer))
    except (ValueError, LookupError, TypeError, RecursionError):
        raise UsageError(f"queue.pointer: {pointer!r} names no number on the page") from None


def summed(page: str, metric: str) -> int:
    """Return the sum of a metric's samples.

    Raises:
        UsageError: there is none of that name.
    """
    name, brace, labels = metric.partition("{")
    wanted = set(re.findall(r'\w+="[^"]*"', labels)) if brace else set()
    found = []
    for line in page.splitlines():
        sample = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)", line)
        if sample is None or sample[1] != name:
            continue
        if wanted <= set(re.findall(r'\w+="[^"]*"', sample[2] or "")):
            found.append(float(sample[3]))
    if not found:
        raise UsageError(f"queue.metric: the page has no metric {metric}")
    return _whole(sum(found))


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
        raise ValueError(value)
    return int(value)
