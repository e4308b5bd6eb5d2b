"""Every store with a server that freezes, or is killed, while it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from lossmeter.errors import CollectError
from lossmeter.world.stores import kafka, mysql, postgres, redis, webhook
from lossmeter.world.waiting import wait_for
from tests.support.places import PLACES, Place
from tests.support.store_kinds import SERVED, collected, events, ids, server_of
from tests.support.stores import Written

# One kind of each server; the types of Redis differ in what is read, not in how it is reached.
KINDS = [kind for kind in SERVED if not kind.startswith("redis ") or kind == "redis stream"]
STRUCK = pytest.mark.parametrize(
    ("absent", "served"),
    [
        pytest.param(f"{kind}-{place}", (place, server_of(kind)), id=f"{kind}-{place}")
        for kind in KINDS
        for place in PLACES
    ],
    indirect=["absent"],
)
# How long each kind waits for a server that has accepted it: cut short, for a test waits as long.
PATIENCE = (
    (kafka, "_WITHIN_S"),
    (mysql, "_CONNECT_S"),
    (mysql, "_SILENT_S"),
    (postgres, "CONNECT_S"),
    (redis, "_WITHIN_S"),
    (webhook, "_WITHIN_S"),
)
PATIENCE_S = 2
BACK_WITHIN_S = 30.0


@STRUCK
def test_one_that_is_frozen_is_an_error_and_then_read_whole(
    written: Written,
    served: tuple[str, str],
    at: Callable[[str], Place],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where, server = served
    written.write(sent := events(50))
    auditor = written.auditor()
    assert auditor.count() == len(sent)
    for module, name in PATIENCE:
        monkeypatch.setattr(module, name, PATIENCE_S)
    with at(where).frozen(server):
        with pytest.raises(CollectError):
            collected(auditor)
        with pytest.raises(CollectError):
            auditor.count()
    assert Counter(ids(collected(auditor).rows)) == Counter(
        (record["producer"], record["sequence"]) for record in sent
    )


@STRUCK
def test_one_that_was_killed_is_an_error_until_it_serves_again(
    written: Written, served: tuple[str, str], at: Callable[[str], Place]
) -> None:
    where, server = served
    written.write(sent := events(50))
    auditor = written.auditor()
    counter = auditor.counter()
    assert counter() == len(sent)
    at(where).kill(server)
    try:
        with pytest.raises(CollectError):
            auditor.count()
        assert counter() is None
    finally:
        at(where).start_again(server)
    assert wait_for(lambda: counter() == len(sent), BACK_WITHIN_S)
    counter.close()
    assert Counter(ids(collected(auditor).rows)) == Counter(
        (record["producer"], record["sequence"]) for record in sent
    )
