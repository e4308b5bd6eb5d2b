"""A dispatcher that is attached to, whose database begins anew in the middle of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from redis.exceptions import RedisError

from lossmeter.world.waiting import wait_for
from tests.support.attached import attached, run_attached
from tests.support.places import Place
from tests.support.program import Running, until
from tests.support.servers import redis_url

STORE = """
[persisted]
kind = "redis"
url = "{url}"
key = "events"
type = "list"
payload = "payload"
"""


@contextmanager
def _keeper(url: str) -> Iterator[Callable[[bytes], object]]:
    """Give what keeps an event in a list, however often that takes."""
    with redis.Redis.from_url(url, socket_timeout=2) as client:

        def once(body: bytes) -> bool:
            with suppress(RedisError):
                return bool(client.rpush("events", body))
            return False

        client.delete("events")
        yield lambda body: wait_for(lambda: once(body), 20)


@pytest.mark.parametrize("restarted", [False, True], ids=["goes-on", "begins-anew"])
def test_a_database_of_its_own_that_begins_anew_is_not_the_dispatchers_doing(
    project: Path, place: Place, background: Callable[..., Running], *, restarted: bool
) -> None:
    url = redis_url(place("redis"))
    with _keeper(url) as keep, attached(keep) as dispatcher:
        ask = run_attached(project, dispatcher.port, STORE.format(url=url), seconds=5.0)
        running = background(*ask, "--json", "-")
        until(lambda: dispatcher.kept > 20)
        if restarted:
            time.sleep(0.5)
            place.kill("redis")
            place.start_again("redis")
        done = running.end(120)
    (result,) = done.results()
    if not restarted:
        assert (done.code, result["verdict"]) == (0, "pass"), result["reason"]
        return
    assert (done.code, result["verdict"]) == (7, "inconclusive"), result["reason"]
    assert "the server of [persisted] began a new lifetime in mid-run" in result["reason"]
