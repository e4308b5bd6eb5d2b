"""A process of its own in which runs are made, as the one that asks for them sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lossmeter import errors
from lossmeter.commands._worker import RunRequest, Start
from lossmeter.errors import HarnessError, InterruptedRunError
from lossmeter.record.result import Result
from lossmeter.run.narrator import Narrator, Progress
from lossmeter.world.ownership import MARK


class GoneError(HarnessError):
    """The process ended without a word, and may have left what it started."""


class WorkerProcess:
    """Starts the process. One thread asks it for runs; the main one may interrupt it."""

    def __init__(self, start: Start) -> None:
        # Modules are found where this process found them, however it was started.
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            "from lossmeter.commands._worker import main; main()"
        )
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # It ends by itself when this one is gone, in good order: what is marked as this
            # one's would be taken for a leftover, and killed while it heals.
            env={name: value for name, value in os.environ.items() if name != MARK},
            # Ctrl-C is for the one that a person started, and is passed on from there.
            start_new_session=True,
        )
        self._interrupts = 0
        self._tell(start.model_copy(update={"parent": os.getpid()}).model_dump_json())

    def run(self, request: RunRequest, narrator: Narrator) -> Result:
        """Have a run made and judged.

        Raises:
            HarnessError: what the process reported.
            GoneError: it has ended.
        """
        self._tell(request.model_dump_json())
        for kind, what in self._answers():
            if kind == "result":
                return Result.model_validate(what)
            if kind == "failed":
                raise _error(what)
            if kind == "say":
                narrator.say(what)
            elif kind == "progress":
                narrator.progress(Progress(**what | {"faults": tuple(what["faults"])}))
        self._raise_how_it_ended()
        raise GoneError(f"the process that made {request.experiment} on {request.target} is gone")

    def interrupt(self) -> None:
        """Pass an interrupt on; the second one is another signal, for two alike may become one."""
        number = signal.SIGINT if self._interrupts else signal.SIGTERM
        self._interrupts += 1
        with suppress(OSError):
            self._popen.send_signal(number)

    def close(self) -> None:
        """Let it stop the servers that it keeps, and wait for its end.

        Raises:
            HarnessError: what it reported at its end.
            GoneError: it was killed.
        """
        stdin, stdout = self._popen.stdin, self._popen.stdout
        try:
            if stdin is not None:
                with suppress(OSError):
                    stdin.close()
            for kind, what in self._answers():
                if kind == "failed":
                    raise _error(what)
            self._raise_how_it_ended()
        finally:
            self._popen.wait()
            if stdout is not None:
                stdout.close()

    def _raise_how_it_ended(self) -> None:
        code = self._popen.wait()
        if code and self._interrupts:
            raise InterruptedRunError("interrupted before it had begun")
        if code:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise GoneError(f"a process that makes runs (pid {self._popen.pid}) ended {how}")

    def _tell(self, line: str) -> None:
        stdin = self._popen.stdin
        if stdin is not None:
            # One that has ended is noticed where its answer is missing.
            with suppress(OSError):
                stdin.write(line + "\n")
                stdin.flush()

    def _answers(self) -> Iterator[tuple[str, Any]]:
        for line in self._popen.stdout or ():
            yield from json.loads(line).items()


def _error(what: dict[str, str]) -> HarnessError:
    """Return the error that was reported, as it was raised there."""
    kind = getattr(errors, what["kind"], HarnessError)
    error: HarnessError = kind(what["why"])
    return error
