"""Somebody else who commands the proxies in the middle of a run: it says nothing then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lossmeter.model import Address
from lossmeter.world.service import Slot
from lossmeter.world.services._toxiproxy_build import SECRET_FILE_VARIABLE
from lossmeter.world.services._toxiproxy_control import Proxies
from lossmeter.world.site import Toxic
from tests.support.odd_project import experiment, run_short
from tests.support.program import Running, loading, until


def _stranger(running: Running) -> Proxies:
    """Return what commands the proxies of a run, as one who found out the secret."""
    process = running.process("toxiproxy-server")
    words = process.cmdline()
    host, port = (words[words.index(word) + 1] for word in ("-host", "-port"))
    secret = Path(process.environ()[SECRET_FILE_VARIABLE]).read_text()
    listen = Address(host, int(port))
    return Proxies(Slot(Path(os.devnull), listen, listen, secret))


@pytest.mark.parametrize(
    ("taken_back", "said"),
    [(False, "disturbed by theirs latency"), (True, "took back what they had done")],
    ids=["left", "taken-back"],
)
def test_a_toxic_that_a_stranger_adds_makes_the_run_inconclusive(
    project: Path, background: Callable[..., Running], *, taken_back: bool, said: str
) -> None:
    ask = run_short(project)
    (project / "short.py").write_text(experiment(lasts_s=6.0))
    running = background(*ask, "--json", "-")
    until(lambda: loading(project / "results" / "runs"))
    stranger = _stranger(running)
    stranger.add("postgres", Toxic("theirs", "latency", attributes={"latency": 20}))
    if taken_back:
        stranger.lift("postgres", "theirs")
    done = running.end(120)
    (result,) = done.results()
    assert (done.code, result["verdict"]) == (7, "inconclusive"), result["reason"]
    assert "somebody else gave Toxiproxy commands" in result["reason"]
    assert said in result["reason"]
