"""What the target says of itself: read, or refused in one sentence that names the field."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.http import Http
from lossmeter.plan.processes import Health
from lossmeter.run.probe import HealthProbe
from lossmeter.world.runtimes._instances import Part
from lossmeter.world.runtimes._target import answers_ok, not_ready
from tests.support import odd_dispatcher

STATES = {
    "text": "http.queue_length names queue_length, and there the answer has '0'",
    "null": "http.queue_length names queue_length, and there the answer has nothing",
    "huge": "http.queue_length names queue_length, and there the answer has 1e+30",
    "other": "http.queue_length names queue_length, and there the answer has nothing",
    "bool": "http.queue_length names queue_length, and there the answer has True",
    "negative": "http.queue_length names queue_length, and there the answer has -1",
    "in-flight": "http.in_flight names in_flight, and there the answer has '0'",
    "list": "the answer is no JSON object",
    "latin": "the answer is no JSON object",
    "deep": "the answer is no JSON object",
    "gzip": "the answer is gzip-encoded",
    "redirect": "http.state /state answers 307; right is 200, without a redirect",
    "nothing": "http.state /state answers 204; right is 200, without a redirect",
}


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    monkeypatch.setenv("STATE", request.param)
    # A proxy must not be asked, and nor does it answer.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with odd_dispatcher.Server(("127.0.0.1", 0), odd_dispatcher.Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _probe(url: str, tmp_path: pytest.TempPathFactory) -> HealthProbe:
    return HealthProbe(url, Http(state="/state", health="/state"), tmp_path.mktemp("run") / "probe")


@pytest.mark.parametrize(("url", "why"), STATES.items(), indirect=["url"])
def test_what_cannot_be_read_is_told_with_its_field(
    url: str, why: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(UsageError) as caught:
        _probe(url, tmp_path_factory).check_readable([url], "odd")
    assert why in str(caught.value)
    assert str(caught.value).startswith("target odd: http.state /state")


@pytest.mark.parametrize("url", ["redirect"], indirect=True)
def test_a_target_that_redirects_is_not_waited_for(url: str) -> None:
    with pytest.raises(UsageError, match=r"/state answers 307, not 200; name .*: /state/$"):
        answers_ok(url, Http(ready="/state"))


@pytest.mark.parametrize("url", ["nothing"], indirect=True)
def test_what_a_target_answered_instead_is_told(url: str) -> None:
    assert not answers_ok(url, Http(ready="/state"))
    target = Catalogue.here().target("channel")
    health = Health(http="/state")
    (process,) = (each.model_copy(update={"health": health}) for each in target.processes)
    part = Part("target", process, 0, int(url.rpartition(":")[2]))
    error = not_ready(target, part, f"asked for {url}/state", "was not ready")
    assert str(error).endswith("/state (it answers 204), was not ready")


@pytest.mark.parametrize("url", [""], indirect=True)
def test_what_can_be_read_is(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    probe = _probe(url, tmp_path_factory)
    probe.check_readable([url], "odd")
    sample = probe.look()
    probe.close()
    assert (sample.ok, sample.queue_length, sample.in_flight) == (True, 0, 0)


@pytest.mark.parametrize("url", ["null"], indirect=True)
def test_one_that_does_not_know_its_queue_yet_is_given_time(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    known = threading.Timer(1.0, lambda: monkeypatch.setenv("STATE", ""))
    known.start()
    _probe(url, tmp_path_factory).check_readable([url], "odd")
    known.join()
