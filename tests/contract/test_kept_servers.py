"""Servers that serve one run after the other, on every runtime: emptied, or not used again."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import psycopg
import pytest

from lossmeter.errors import ServiceError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.install.cache import cache_root
from lossmeter.world.runtime import Runtime
from lossmeter.world.runtimes._processes import marked
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.service import Slot
from lossmeter.world.services import discover
from lossmeter.world.site import ServersKillable, Toxic
from tests.support.sites import RUN, Up, on_engine, runtime_named, up_on


@pytest.fixture(scope="module", params=["local", "docker"])
def keeping(request: pytest.FixtureRequest) -> Runtime:
    """A runtime that keeps servers."""
    return runtime_named(request.param)


def there_is(runtime: Runtime) -> set[str]:
    """Return what the runs of these tests have on a runtime at this moment."""
    folders = (cache_root() / "state" / runtime.name).glob(f"{RUN}*")
    found = {owner.mark for _, owner in marked()} | {folder.name for folder in folders}
    if runtime.name == "docker":
        found |= set(on_engine(RUN))
    return {name for name in found if RUN in name}


@dataclass
class Kept:
    """Brings up one target after the other from one shelf."""

    runtime: Runtime
    pool: ServerPool
    folder: Path
    said: list[str] = field(default_factory=list)
    runs: int = 0

    @contextmanager
    def up(self, target: str = "channel", **settings: str) -> Iterator[Up]:
        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir()
        asked = Catalogue.here().target(target)
        with up_on(
            self.runtime, folder, asked, pool=self.pool, say=self.said.append, **settings
        ) as up:
            assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
            yield up

    def lives(self, up: Up) -> dict[str, tuple[int, int]]:
        assert isinstance(up.site, ServersKillable)
        lives = {name: up.site.server_lifetime(name) for name in (*up.site.endpoints, "toxiproxy")}
        return {name: (life.pid, life.start_ticks) for name, life in lives.items()}


@pytest.fixture
def kept(keeping: Runtime, tmp_path: Path) -> Iterator[Kept]:
    others = there_is(keeping)
    with ServerPool() as pool:
        yield Kept(keeping, pool, tmp_path)
    assert there_is(keeping) == others


def leave_rows(up: Up) -> None:
    with psycopg.connect(up.site.endpoints["postgres"].direct["url"]) as connection:
        connection.execute("create table left_by_a_run as select generate_series(1, 1000) as n")


def relations(up: Up) -> set[str]:
    with psycopg.connect(up.site.endpoints["postgres"].direct["url"]) as connection:
        found = connection.execute(
            "select relname from pg_class where oid >= 16384 and relkind = 'r'"
        ).fetchall()
    return {str(name) for (name,) in found}


def test_servers_serve_the_next_run_and_are_empty(kept: Kept) -> None:
    with kept.up() as up:
        assert up.site.served == 0
        before = kept.lives(up)
        made_by_target = relations(up)
        leave_rows(up)
        log = up.folder / "logs" / "postgres.log"
    assert "database system is ready" in log.read_text()
    with kept.up() as up:
        assert up.site.served == 1
        assert kept.lives(up) == before
        assert relations(up) == made_by_target
        up.site.check()
        assert sorted(up.site.proxies.list()) == sorted(up.site.endpoints)  # type: ignore[attr-defined]
    # Kept, and seen by what looks for leftovers at the end.
    assert any(".servers" in name for name in there_is(kept.runtime))
    later = (kept.folder / "2" / "logs" / "postgres.log").read_text()
    # Each run has its own part of what the server wrote.
    assert "database system is ready" not in later
    assert "servers kept, after 1 run: emptied, and found as when new" in kept.said
    with kept.up() as up:
        assert up.site.served == 2


@pytest.mark.parametrize("target", ["redis", "kafka"])
def test_a_queue_that_was_kept_is_empty(kept: Kept, target: str) -> None:
    """What waited in the broker when a run ended reaches no other run."""
    asked = Catalogue.here().target(target)
    # Slow workers, so that something waits however slowly it is pushed.
    with kept.up(target, DISPATCHER_HANDLER__TIME_S="0.5") as up:
        before = kept.lives(up)
        url = up.site.base_url + asked.http.events
        for sequence in range(200):
            event = json.dumps({"producer": 1, "sequence": sequence, "payload": "x"}).encode()
            with suppress(HTTPException, OSError):
                request = urllib.request.Request(
                    url, event, {"content-type": "application/json"}, method="POST"
                )
                urllib.request.urlopen(request, timeout=5).close()
        waiting = up.probe.wait_for(lambda sample: bool(sample.queue_length), 5)
        assert waiting is not None
    with kept.up(target) as up:
        assert kept.lives(up) == before
        sample = up.probe.wait_for(lambda sample: sample.ok, 5)
        assert sample is not None
        assert (sample.queue_length, sample.in_flight) == (0, 0)
        time.sleep(0.5)
        with psycopg.connect(up.site.endpoints["postgres"].direct["url"]) as connection:
            assert connection.execute(asked.persisted.query.encode()).fetchall() == []


def test_what_a_proxy_did_to_one_run_it_does_not_do_to_the_next(kept: Kept) -> None:
    with kept.up() as up:
        slow = Toxic("slow", "latency", attributes={"latency": 2000, "jitter": 0})
        up.site.proxies.add("postgres", slow)  # type: ignore[attr-defined]
    with kept.up() as up:
        assert up.site.served == 1
        front = up.site.endpoints["postgres"].through
        assert front is not None
        url = up.site.endpoints["postgres"].direct["url"]
        through = url.replace(str(up.site.endpoints["postgres"].outside), str(front))
        begin = time.monotonic()
        psycopg.connect(through).close()
        assert time.monotonic() - begin < 1


def test_a_server_that_a_fault_struck_serves_no_other_run(kept: Kept) -> None:
    with kept.up() as up:
        before = kept.lives(up)
        assert isinstance(up.site, ServersKillable)
        up.site.kill_server("postgres")
        up.site.start_server("postgres")
    assert "servers are not kept: a fault struck postgres" in kept.said
    with kept.up() as up:
        assert up.site.served == 0
        assert not set(kept.lives(up).values()) & set(before.values())


def test_a_server_that_does_not_come_clean_serves_no_other_run(kept: Kept) -> None:
    with kept.up() as up:
        before = kept.lives(up)
        url = up.site.endpoints["postgres"].direct["url"]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter system set work_mem = '1MB'")
    with kept.up() as up:
        assert up.site.served == 0
        assert not set(kept.lives(up).values()) & set(before.values())
    (reported,) = [line for line in kept.said if "are not kept" in line]
    assert (
        "postgres, emptied, is not as when it was new: it still has setting of the file" in reported
    )
    assert "its log ends:" in reported


def test_a_server_that_does_not_describe_itself_serves_one_run(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(slot: Slot) -> frozenset[str]:
        raise ServiceError(f"redis on {slot.listen}: unknown command")

    monkeypatch.setattr(discover()["redis"], "contents", silent)
    for _ in range(2):
        with kept.up("redis") as up:
            assert up.site.served == 0
            up.site.check()
    assert [line for line in kept.said if "redis did not say what it contained" in line]


def test_a_server_that_ends_while_it_is_kept_is_replaced(kept: Kept) -> None:
    import psutil

    with kept.up("redis") as up:
        pid, _ = kept.lives(up)["redis"]
    psutil.Process(pid).kill()
    time.sleep(0.3)
    with kept.up("redis") as up:
        assert up.site.served == 0
    assert "servers that were kept are not used again: redis ended" in kept.said


def test_in_a_cluster_each_run_has_its_own(tmp_path: Path) -> None:
    runtime = runtime_named("kubernetes")
    target = Catalogue.here().target("channel")
    with ServerPool() as pool:
        for folder in (tmp_path / "first", tmp_path / "second"):
            folder.mkdir()
            with up_on(runtime, folder, target, pool=pool) as up:
                assert up.site.served == 0
