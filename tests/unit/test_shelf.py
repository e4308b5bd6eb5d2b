"""What a shelf keeps, what it does not, and that it closes all of it."""

from __future__ import annotations

import pytest

from lossmeter.errors import InterruptedRunError, ServiceError
from lossmeter.world.server_pool import ServerPool


class Recorded:
    """Servers that only note what is done to them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.unfit_since: str | None = None
        self.fails_at: str = ""

    def _note(self, what: str) -> None:
        self.done.append(what)
        if what == self.fails_at:
            raise ServiceError(f"{what} failed")

    def start(self) -> None:
        self._note("start")

    def renew(self) -> None:
        self._note("renew")

    def resume(self) -> None:
        self._note("resume")

    def close(self) -> None:
        self._note("close")

    def unfit(self) -> str | None:
        return self.unfit_since


class Maker:
    """Makes servers, and keeps them all for a look."""

    def __init__(self) -> None:
        self.made: list[Recorded] = []
        self.said: list[str] = []

    def __call__(self) -> Recorded:
        self.made.append(Recorded())
        return self.made[-1]


@pytest.fixture
def maker() -> Maker:
    return Maker()


def serve(pool: ServerPool, maker: Maker, kind: str = "one") -> Recorded:
    with pool.lend(kind, maker, maker.said.append) as servers:
        return servers


def test_what_comes_back_unharmed_is_renewed_and_serves_the_next(maker: Maker) -> None:
    with ServerPool() as pool:
        first, second, third = (serve(pool, maker) for _ in range(3))
        assert first is second is third
        # Emptied as soon as it is not used, so that it lies there with nothing to do.
        assert first.done == ["start", "renew", "resume", "renew", "resume", "renew"]
    assert first.done[-1] == "close"
    assert maker.said == []


def test_one_kind_does_not_stand_in_for_another(maker: Maker) -> None:
    with ServerPool() as pool:
        assert serve(pool, maker, "one") is not serve(pool, maker, "two")
        assert serve(pool, maker, "one") is maker.made[0]
        assert len(maker.made) == 2


def test_what_is_unfit_afterwards_is_closed_and_it_is_said(maker: Maker) -> None:
    with ServerPool() as pool:
        with pool.lend("one", maker, maker.said.append) as servers:
            servers.unfit_since = "a fault struck redis"
        assert servers.done == ["start", "close"]
        assert maker.said == ["servers are not kept: a fault struck redis"]
        assert serve(pool, maker) is not servers


def test_what_cannot_be_emptied_is_closed_and_the_run_is_not_to_blame(maker: Maker) -> None:
    with ServerPool() as pool:
        with pool.lend("one", maker, maker.said.append) as first:
            first.fails_at = "renew"
        assert first.done == ["start", "renew", "close"]
        assert maker.said == ["servers are not kept: renew failed"]
        assert serve(pool, maker) is not first


def test_what_changed_while_it_lay_idle_is_closed_and_new_ones_serve(maker: Maker) -> None:
    with ServerPool() as pool:
        first = serve(pool, maker)
        first.fails_at = "resume"
        second = serve(pool, maker)
        assert second is not first
        assert first.done == ["start", "renew", "resume", "close"]
        assert second.done == ["start", "renew"]
        assert maker.said == ["servers that were kept are not used again: resume failed"]


def test_what_does_not_close_spoils_no_run_and_is_told_at_the_end(maker: Maker) -> None:
    pool = ServerPool(at_once=1)
    serve(pool, maker, "one").fails_at = "close"
    assert serve(pool, maker, "two") is maker.made[1]
    with pytest.raises(ServiceError, match="did not stop: ServiceError: close failed"), pool:
        pass
    assert maker.said == ["servers did not stop: close failed"]
    assert maker.made[1].done[-1] == "close"


def test_an_interrupt_while_all_are_closed_closes_all(maker: Maker) -> None:
    class Interrupted(Recorded):
        def close(self) -> None:
            self._note("close")
            if self.done.count("close") == 1:
                raise KeyboardInterrupt

    def interrupted() -> Recorded:
        maker.made.append(Interrupted())
        return maker.made[-1]

    pool = ServerPool()
    serve(pool, maker, "one")
    with pool.lend("two", interrupted, maker.said.append):
        pass
    with pytest.raises(InterruptedRunError, match="all are"), pool:
        pass
    assert [made.done.count("close") for made in maker.made] == [1, 2]


@pytest.mark.parametrize("error", [ServiceError("died"), KeyboardInterrupt(), ValueError("bug")])
def test_after_an_error_nothing_is_kept(maker: Maker, error: BaseException) -> None:
    with ServerPool() as pool:
        with (
            pytest.raises(type(error)),
            pool.lend("one", maker, maker.said.append) as servers,
        ):
            raise error
        assert servers.done == ["start", "close"]
        assert serve(pool, maker) is not servers


def test_what_does_not_start_is_closed(maker: Maker) -> None:
    def failing() -> Recorded:
        made = maker()
        made.fails_at = "start"
        return made

    with (
        ServerPool() as pool,
        pytest.raises(ServiceError, match="start failed"),
        pool.lend("one", failing, maker.said.append),
    ):
        pass
    assert maker.made[0].done == ["start", "close"]


def test_without_a_place_each_run_has_its_own(maker: Maker) -> None:
    # Not entered, as when a run alone makes one.
    pool = ServerPool(at_once=0)
    assert serve(pool, maker) is not serve(pool, maker)
    assert [made.done for made in maker.made] == [["start", "close"]] * 2


def test_of_more_than_it_has_places_for_the_oldest_goes(maker: Maker) -> None:
    with ServerPool(at_once=2) as pool:
        one = serve(pool, maker, "one")
        two = serve(pool, maker, "two")
        assert serve(pool, maker, "one") is one
        three = serve(pool, maker, "three")
        assert two.done == ["start", "renew", "close"]
        assert one.done == ["start", "renew", "resume", "renew"]
        assert three.done == ["start", "renew"]
    assert one.done[-1] == three.done[-1] == "close"
    assert two.done.count("close") == 1


def test_one_that_does_not_close_does_not_keep_the_others_open(maker: Maker) -> None:
    pool = ServerPool()
    for kind in ("one", "two", "three"):
        serve(pool, maker, kind)
    maker.made[1].fails_at = "close"
    with pytest.raises(ServiceError, match="close failed"), pool:
        pass
    assert all(made.done[-1] == "close" for made in maker.made)


def test_what_went_wrong_before_is_what_is_told(maker: Maker) -> None:
    pool = ServerPool()
    serve(pool, maker).fails_at = "close"
    with pytest.raises(ValueError, match="bug"), pool:
        raise ValueError("bug")
    assert maker.made[0].done[-1] == "close"


def test_two_runs_at_once_have_servers_of_their_own(maker: Maker) -> None:
    with ServerPool() as pool:
        with pool.lend("one", maker, maker.said.append) as outer:
            inner = serve(pool, maker)
            assert inner is not outer
        assert inner.done == ["start", "renew", "close"]
        assert serve(pool, maker) is outer
