"""Brings the journals of load processes on other machines to the one that judges.

A worker passes on what its journal gained, twice a second; the master writes it into the
same file in the run's folder. So the run is seen while it goes on, and a machine that is
lost leaves a journal that was not closed, which is no verdict.
"""

from __future__ import annotations

import os
from pathlib import Path

import gevent
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerRunner

from lossmeter.record.journal_format import HEADER, RECORD, recorded

_EVERY_S = 0.5
_MOST_RECORDS = 50_000
_JOURNAL = "lossmeter-journal"


class Relay:
    """The worker's side: passes one journal on while it grows."""

    def __init__(self, runner: WorkerRunner, path: Path) -> None:
        self._runner = runner
        self._fd = os.open(path, os.O_RDONLY)
        self._passed = 0

    def keep_up(self) -> None:
        """Pass on what is new, until this greenlet is killed."""
        while True:
            gevent.sleep(_EVERY_S)
            self.pass_on()

    def pass_on(self) -> None:
        """Pass on what is new now."""
        header = os.pread(self._fd, HEADER.size, 0)
        count = recorded(self._fd)
        while self._passed < count:
            some = min(count - self._passed, _MOST_RECORDS)
            at = HEADER.size + self._passed * RECORD.size
            records = os.pread(self._fd, some * RECORD.size, at)
            data = {"header": header, "at": at, "records": records}
            self._runner.send_message(_JOURNAL, data)
            self._passed += some


class Gathering:
    """The master's side: writes each worker's journal into the run's folder."""

    def __init__(self, runner: MasterRunner, folder: Path, shards: dict[str, int]) -> None:
        self._folder, self._shards = folder, shards
        runner.register_message(_JOURNAL, self._take)

    def _take(self, msg: Message, **_: object) -> None:
        shard = self._shards.get(msg.node_id)
        if shard is None:
            return
        path = self._folder / f"journal-{shard}.bin"
        fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            # The header last: it says how many records there are.
            os.pwrite(fd, msg.data["records"], msg.data["at"])
            os.pwrite(fd, msg.data["header"], 0)
        finally:
            os.close(fd)
