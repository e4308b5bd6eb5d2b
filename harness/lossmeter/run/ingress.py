"""The ingress program of a run: which, what it is given, and whether it comes up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from select import select

from lossmeter.errors import UsageError
from lossmeter.load.ingress import options_of
from lossmeter.load.pipe import start
from lossmeter.load.plan import Feeder
from lossmeter.plan.target import Target
from lossmeter.record.files import read_text
from lossmeter.record.marks import FOLDER as SHARED
from lossmeter.world.beginnings import Beginning
from lossmeter.world.install import environments
from lossmeter.world.interpolation import interpolate, reachable
from lossmeter.world.isolation import target_environment
from lossmeter.world.site import Endpoint

_ENDS_WITHIN_S = 5.0
# How much longer than in the trial it may take to come up beside others.
_SLOWER, _AT_LEAST_S = 2.0, 0.5


@dataclass(frozen=True, slots=True)
class Ingress:
    """An ingress program that came up.

    Attributes:
        feeder: its command, for the load's plan.
        environment: what it is given; in no file, since it may hold secrets.
        timeout_s: an event without an answer for so long is unknown.
        began: asks its broker since when that serves.
    """

    feeder: Feeder
    environment: Mapping[str, str]
    timeout_s: float
    began: Callable[[], Beginning | None] = lambda: None


def ingress_of(target: Target, endpoints: Mapping[str, Endpoint], folder: Path) -> Ingress | None:
    """Return the ingress program of a target, after a trial; None where events go by HTTP.

    Raises:
        UsageError: it cannot be started, or does not say that it is ready.
    """
    if target.ingress is None:
        return None
    options = options_of(target.name, target.ingress)
    values = reachable(endpoints, proxied=True) | {
        "python": sys.executable,
        **environments.bring(target),
        # As its processes and its store have it.
        "run_folder": str(folder / SHARED),
    }

    def put_in(text: str) -> str:
        return interpolate(text, values, target.name)

    command = options.command(put_in)
    words = ["{python}"] if command[0] == values["python"] else []
    environment = target_environment(words, own=target.own_python) | options.variables(put_in)
    feeder = Feeder(command, options.folder or str(folder))
    log = folder / "logs" / "ingress-trial.log"
    took_s = _trial(target.name, feeder, environment, log, options.ready_s)
    lead_s = _AT_LEAST_S + _SLOWER * took_s
    ready = Feeder(command, feeder.folder, lead_s)
    return Ingress(ready, environment, options.timeout_s, partial(options.began, put_in))


def _trial(
    target: str, feeder: Feeder, environment: Mapping[str, str], log: Path, within_s: float
) -> float:
    """Start the program once; return how many seconds it took to be ready.

    Raises:
        UsageError: it did not come up.
    """
    begin = time.monotonic()
    try:
        popen = start(feeder, environment, log)
    except OSError as error:
        raise UsageError(
            f"target {target}: ingress: {feeder.argv[0]} cannot be started: {error.strerror}"
        ) from None
    with popen:
        if popen.stdin is None or popen.stdout is None:
            raise UsageError(f"target {target}: ingress: the program has no pipes")
        ready, _, _ = select([popen.stdout], [], [], within_s)
        line = popen.stdout.readline() if ready else b""
        took_s = time.monotonic() - begin
        popen.stdin.close()
        if line.strip() != b"ready":
            popen.kill()
            popen.wait()
            what = f"its first line was {line[:80]!r}" if line else "it said nothing"
            said = read_text(log).strip().rpartition("\n")[2]
            raise UsageError(
                f"target {target}: ingress: the program did not say `ready` within {within_s:g} s "
                f"({what}); the end of its log: {said or 'empty'}"
            )
    return took_s
