"""The health probe: looks at the target from outside during the whole run.

Each look is kept with the times around it, written to disk as it comes, and offered to
whoever waits for a condition.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

from lossmeter.errors import ProbeError, UsageError
from lossmeter.plan.http import Http
from lossmeter.record import files
from lossmeter.record.clock import ClockWatch
from lossmeter.world.caller import Caller
from lossmeter.world.http_client import Answer
from lossmeter.world.site import Sample
from lossmeter.world.waiting import wait_for

EVERY_S = 0.01
ANSWER_WITHIN_S, READABLE_WITHIN_S = 1.0, 3.0
KNOWN_WITHIN_S = 5.0
# Beyond this, a number is none that counts events.
MOST = 2**62
_REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a target's answer about itself cannot be read.

    Attributes:
        for_good: waiting mends nothing.
        not_yet: it says nothing where a number is to be, as one may that has just started.
    """

    why: str
    for_good: bool
    not_yet: bool = False


class HealthProbe:
    """Samples the target's state (or health path) every ``EVERY_S`` seconds.

    Of several instances it asks each in turn: the target answers when one of them does,
    and what they hold is added up.

    Args:
        base_url: the target, ``http://127.0.0.1:PORT``.
        http: the target's paths and field names.
        sink: samples are appended here, one JSON object a line.

    Attributes:
        runs: says whether a target that takes no requests runs; None where one can be asked.
        queue_length: reads the length of the queue where the target does not report it.
        clock: tells whether the wall clock jumped meanwhile.
        gap_s: the longest that it was kept from looking, other than by the target: between
            two looks, or because this process did not come to run at all.
    """

    def __init__(self, base_url: str, http: Http, sink: Path) -> None:
        self._caller = Caller(http)
        self._views = [_View(base_url, http, self._caller)]
        self._wanted: Sequence[str] | None = None
        self._http = http
        self._sink = sink
        self._samples: list[Sample] = []
        self._news = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health-probe", daemon=True)
        self._pulse = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._between_s = self._asleep_s = 0.0
        self._failed: OSError | None = None
        self.clock = ClockWatch()
        self.queue_length: Callable[[], int | None] | None = None
        self.runs: Callable[[], bool] | None = None

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
        self._views = [present.get(url) or _View(url, self._http, self._caller) for url in wanted]
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

    def wait_for(
        self, wanted: Callable[[Sample], bool], timeout_s: float, seen: int | None = None
    ) -> Sample | None:
        """Return the first new sample that is wanted, or None when time is up."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            seen = len(self._samples) if seen is None else seen
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
            why = f"{self._sink}: {files.why(self._failed)}" if self._failed else "by a defect"
            raise ProbeError(f"the health probe ended in mid-run, {why}") from self._failed

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
        try:
            self._look_until_over()
        except OSError as error:
            self._failed = error

    def _look_until_over(self) -> None:
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

    def check_readable(self, base_urls: Sequence[str], target: str) -> None:
        """Ask each instance once, and make sure that its answer can be read.

        Raises:
            UsageError: it cannot; names the target and the field of its file.
        """
        for url in base_urls:
            with contextlib.closing(_View(url, self._http, self._caller)) as view:
                try:
                    view.check()
                except UsageError as error:
                    raise UsageError(f"target {target}: {error}") from None

    def unreadable(self) -> Unreadable | None:
        """Ask each instance anew why its answer cannot be read; None where all can."""
        for view in [_View(each.base_url, self._http, self._caller) for each in self._views]:
            with contextlib.closing(view):
                if (problem := view.problem(0.0)) is not None:
                    return problem
        return None

    def post(self, path: str, within_s: float) -> int | None:
        """Post to a path of the first instance; return the status, None without an answer.

        Raises:
            ProbeError: the target takes no requests.
        """
        if self.runs is not None:
            raise ProbeError(f"the target takes no requests, so nobody can post to {path}")
        answer = self._caller.ask(self._views[0].base_url, path, within_s, method="POST", body=b"")
        return answer.status if answer else None

    def look(self) -> Sample:
        """Ask the target once."""
        self._renew()
        if self.runs is None:
            sample = _together([view.look() for view in self._views])
        else:
            now_ns = time.time_ns()
            sample = Sample(now_ns, now_ns, ok=self.runs())
        if self.queue_length is None:
            return sample
        return replace(sample, queue_length=self.queue_length())


class _View:
    """One instance as the probe sees it, over a connection that is kept open."""

    def __init__(self, base_url: str, http: Http, caller: Caller) -> None:
        self.base_url = base_url
        self._caller = caller
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
        answer = self._answer(self._http.state or self._http.health)
        answered_ns = time.time_ns()
        if answer is None:
            return Sample(asked_ns, answered_ns, ok=False)
        if not answer.ok or self._http.state is None:
            return Sample(asked_ns, answered_ns, ok=answer.ok)
        return self._read(asked_ns, answered_ns, answer)

    def check(self) -> None:
        """Find out whether it answers what the target's file promises.

        Raises:
            UsageError: it does not; names the field.
        """
        ends = time.monotonic() + KNOWN_WITHIN_S
        while (problem := self.problem(READABLE_WITHIN_S)) is not None:
            # What has just joined its broker may not know what waits there.
            if not problem.not_yet or time.monotonic() > ends:
                raise UsageError(problem.why)
            time.sleep(EVERY_S)

    def problem(self, within_s: float) -> Unreadable | None:
        """Return why its answer cannot be read; it may take ``within_s`` to begin to answer."""
        path = self._http.state or self._http.health
        where = f"{'http.health' if self._http.state is None else 'http.state'} {path}"
        answer = wait_for(lambda: self._answer(path), within_s)
        if answer is None:
            silent_s = within_s or ANSWER_WITHIN_S
            return Unreadable(f"{where} gives no answer within {silent_s:g} s", for_good=False)
        if not answer.ok:
            return Unreadable(
                f"{where} answers {answer.status}; right is 200, without a redirect",
                for_good=answer.status in _REDIRECTS,
            )
        return None if self._http.state is None else self._state_problem(where, answer)

    def _state_problem(self, where: str, answer: Answer) -> Unreadable | None:
        state = answer.json_object()
        if state is None:
            kind = f"is {answer.encoding}-encoded" if answer.encoding else "is no JSON object"
            why = (
                f"{where}: the answer {kind}, it begins {answer.body[:40]!r}; right is a JSON "
                f"object with a whole number at {self._http.queue_length}"
            )
            return Unreadable(why, for_good=True)
        for name in ("queue_length", "in_flight", "without_room"):
            at = getattr(self._http, name)
            there = _at(state, at)
            if name == "queue_length" and not at:
                # Its length is read elsewhere, or not at all.
                continue
            if _number(state, at) is None and (name == "queue_length" or there is not None):
                why = (
                    f"{where}: http.{name} names {at}, and there the answer has "
                    f"{'nothing' if there is None else repr(there)}; right is a whole number, 0 "
                    "or more"
                )
                return Unreadable(why, for_good=True, not_yet=there is None)
        return None

    def _answer(self, path: str) -> Answer | None:
        """Ask over the connection that is open; None where nobody answers, or not in HTTP."""
        if self._connection is None:
            self._connection = self._caller.connection(self.base_url, ANSWER_WITHIN_S)
        try:
            return self._caller.exchange(self._connection, path)
        except (OSError, HTTPException):
            self.close()
            return None

    def _read(self, asked_ns: int, answered_ns: int, answer: Answer) -> Sample:
        state = answer.json_object()
        if state is None:
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
    reported = [number for number in numbers if number is not None]
    return sum(reported) if reported and len(reported) == len(numbers) else None


def _at(state: Mapping[str, object], path: str) -> object:
    """Return what stands at a dotted path of a JSON object; None where nothing does."""
    found: object = state
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _number(state: Mapping[str, object], path: str) -> int | None:
    """Return the whole number, 0 or more, at a dotted path of a JSON object, or None."""
    value = _at(state, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value % 1 == 0 and 0 <= value < MOST else None
