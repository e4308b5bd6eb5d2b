"""The health probe: looks at the target from outside during the whole run.

Each look is kept with the times around it, written to disk as it comes, and offered to
whoever waits for a condition.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from http.client import OK, HTTPConnection, HTTPException
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from harness.clock import ClockWatch
from harness.errors import ProbeError
from harness.site import Sample
from harness.target import Http

EVERY_S = 0.01
ANSWER_WITHIN_S = 1.0


class HealthProbe:
    """Samples the target's state (or health path) every ``EVERY_S`` seconds.

    Of several instances it asks each in turn: the target answers when one of them does,
    and what they hold is added up.

    Args:
        base_url: the target, ``http://127.0.0.1:PORT``.
        http: the target's paths and field names.
        sink: samples are appended here, one JSON object a line.

    Attributes:
        clock: tells whether the wall clock jumped meanwhile.
        gap_s: the longest that it was kept from looking, other than by the target: between
            two looks, or because this process did not come to run at all.
    """

    def __init__(self, base_url: str, http: Http, sink: Path) -> None:
        self._views = [_View(base_url, http)]
        self._wanted: Sequence[str] | None = None
        self._http = http
        self._sink = sink
        self._samples: list[Sample] = []
        self._news = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health-probe", daemon=True)
        self._pulse = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._between_s = self._asleep_s = 0.0
        self.clock = ClockWatch()

    @property
    def gap_s(self) -> float:
        """Return the longest gap so far, seconds."""
        return max(self._between_s, self._asleep_s)

    def watch(self, base_urls: Sequence[str]) -> None:
        """Look at these instances from now on; others may come and go during a run."""
        self._wanted = tuple(base_urls)

    def _renew(self) -> None:
        """Take on the instances that are wanted; only the looking thread touches views."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        present = {view.base_url: view for view in self._views}
        self._views = [present.get(url) or _View(url, self._http) for url in wanted]
        for url in present.keys() - set(wanted):
            present[url].close()

    def samples(self) -> Sequence[Sample]:
        """Return all samples so far, oldest first."""
        with self._news:
            return tuple(self._samples)

    def last(self) -> Sample | None:
        """Return the newest sample, or None before the first."""
        with self._news:
            return self._samples[-1] if self._samples else None

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        """Return the first new sample that is wanted, or None when time is up."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            seen = len(self._samples)
            while True:
                for sample in self._samples[seen:]:
                    if wanted(sample):
                        return sample
                seen = len(self._samples)
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return None
                self._news.wait(left_s)

    def check(self) -> None:
        """Raise when the probe no longer looks: its last sample would be believed for ever.

        Raises:
            ProbeError: its thread ended, for example because the disk is full.
        """
        if not self._thread.is_alive():
            raise ProbeError(f"the health probe ended in mid-run; is there room for {self._sink}?")

    def __enter__(self) -> Self:
        self._thread.start()
        self._pulse.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(ANSWER_WITHIN_S * 3)
        self._pulse.join()

    def _beat(self) -> None:
        """Note how much too long this process sleeps, also while a look is under way."""
        while True:
            begin = time.monotonic()
            if self._over.wait(EVERY_S):
                return
            self._asleep_s = max(self._asleep_s, time.monotonic() - begin - EVERY_S)

    def _watch(self) -> None:
        with self._sink.open("a", encoding="utf-8") as sink, contextlib.closing(self):
            ready = time.monotonic()
            while not self._over.is_set():
                begin = time.monotonic()
                self._between_s = max(self._between_s, begin - ready - EVERY_S)
                self.clock.look()
                sample = self.look()
                ready = time.monotonic()
                sink.write(json.dumps(asdict(sample)) + "\n")
                with self._news:
                    self._samples.append(sample)
                    self._news.notify_all()
                self._over.wait(max(0.0, EVERY_S - (time.monotonic() - begin)))

    def close(self) -> None:
        """Close the connections to the target; the next look opens others."""
        for view in self._views:
            view.close()

    def look(self) -> Sample:
        """Ask the target once."""
        self._renew()
        return _together([view.look() for view in self._views])


class _View:
    """One instance as the probe sees it, over a connection that is kept open."""

    def __init__(self, base_url: str, http: Http) -> None:
        self.base_url = base_url
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._http = http
        self._connection: HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection; the next look opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def look(self) -> Sample:
        """Ask the instance once."""
        asked_ns = time.time_ns()
        try:
            status, body = self._get(self._http.state or self._http.health)
        except (OSError, HTTPException):
            self.close()
            return Sample(asked_ns, time.time_ns(), ok=False)
        answered_ns = time.time_ns()
        if status != OK or self._http.state is None:
            return Sample(asked_ns, answered_ns, ok=status == OK)
        return self._read(asked_ns, answered_ns, body)

    def _get(self, path: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = HTTPConnection(self._host, self._port, timeout=ANSWER_WITHIN_S)
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _read(self, asked_ns: int, answered_ns: int, body: bytes) -> Sample:
        try:
            state = json.loads(body)
        except ValueError:
            state = None
        if not isinstance(state, dict):
            return Sample(asked_ns, answered_ns, ok=False)
        return Sample(
            asked_ns,
            answered_ns,
            ok=True,
            queue_length=_number(state, self._http.queue_length),
            in_flight=_number(state, self._http.in_flight),
            boot_id=str(state.get(self._http.boot_id, "")),
            without_room=_number(state, self._http.without_room),
        )


def _together(seen: Sequence[Sample]) -> Sample:
    """Return what several instances say as one sample."""
    if len(seen) == 1:
        return seen[0]
    answering = [sample for sample in seen if sample.ok]
    return Sample(
        seen[0].asked_ns,
        seen[-1].answered_ns,
        ok=bool(answering),
        queue_length=_sum([sample.queue_length for sample in answering]),
        in_flight=_sum([sample.in_flight for sample in answering]),
        boot_id="+".join(sample.boot_id for sample in answering if sample.boot_id),
        without_room=_sum([sample.without_room for sample in answering]),
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    told = [number for number in numbers if number is not None]
    return sum(told) if told and len(told) == len(numbers) else None


def _number(state: object, path: str) -> int | None:
    """Return the integer at a dotted path of a JSON object, or None."""
    for part in path.split("."):
        if not isinstance(state, dict) or part not in state:
            return None
        state = state[part]
    if isinstance(state, float) and not math.isfinite(state):
        return None
    return int(state) if isinstance(state, int | float) else None
