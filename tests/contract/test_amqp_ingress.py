"""The ingress ``amqp`` and a peer that is slow, answers twice, or answers with nonsense.

What a RabbitMQ does is tested with one, in ``test_ingresses.py``.
"""

from __future__ import annotations

import json
import struct
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from pika import frame, spec

from lossmeter.model import Status
from lossmeter.record.answers import classify
from lossmeter.record.journals import Journals
from tests.support.amqp_peer import Peer, Talk, amqp_peer
from tests.support.feeding import Feeding, statuses

EVENTS, CONFIRMED = 40, 10
LAST_TAG = (1 << 64) - 1


def fed(feeding: Feeding, peer: Peer, events: int = EVENTS, timeout_s: float = 1.5) -> Journals:
    """Feed a peer."""
    table = {"kind": "amqp", "queue": "q", "url": peer.url, "timeout_s": timeout_s}
    return feeding.feed(table, events=events)


def refused_and_published(journals: Journals, peer: Peer) -> set[tuple[int, int]]:
    """Return the events that are called refused, although the peer was given them."""
    came = {(e["producer"], e["sequence"]) for e in map(json.loads, peer.published)}
    outcomes = journals.outcomes
    refused = [classify(int(code), (), ()) is Status.REFUSED for code in outcomes["code"]]
    return came & set(map(tuple, outcomes[refused][["producer", "sequence"]].tolist()))


def first_ones(otherwise: Callable[[Talk], None]) -> Callable[[Talk], None]:
    """Return what confirms the first messages, and does something else with the others."""

    def confirm(talk: Talk) -> None:
        if len(talk.peer.published) <= CONFIRMED:
            talk.ack(talk.tag)
        else:
            otherwise(talk)

    return confirm


def test_the_peer_is_taken_for_a_broker_as_long_as_it_answers_like_one(feeding: Feeding) -> None:
    with amqp_peer(Peer(lambda talk: talk.ack(talk.tag))) as peer:
        journals = fed(feeding, peer)
    assert statuses(journals) == Counter(acked=EVENTS, refused=0, unknown=0)
    sent = sorted(journals.intents[["producer", "sequence"]].tolist())
    came = sorted((e["producer"], e["sequence"]) for e in map(json.loads, peer.published))
    assert came == sent


def test_a_confirm_that_never_comes_leaves_its_event_unknown(feeding: Feeding) -> None:
    with amqp_peer(Peer(first_ones(lambda _: None))) as peer:
        journals = fed(feeding, peer)
    assert len(peer.published) == EVENTS
    assert statuses(journals) == Counter(acked=CONFIRMED, refused=0, unknown=EVENTS - CONFIRMED)


def test_a_confirm_after_the_time_out_is_an_ack_all_the_same(feeding: Feeding) -> None:
    def confirm(talk: Talk) -> None:
        threading.Timer(1.2, talk.ack, (talk.tag,)).start()

    with amqp_peer(Peer(confirm)) as peer:
        journals = fed(feeding, peer, 400, timeout_s=1)
    first = journals.intents["sent_ns"].min()
    early = int((journals.intents["sent_ns"] < first + 500_000_000).sum())
    assert statuses(journals)["acked"] >= early, "they were confirmed while the load still ran"
    assert statuses(journals)["refused"] == 0


@pytest.mark.parametrize(
    "silent_at",
    [spec.Connection.StartOk, spec.Channel.Open, spec.Confirm.Select],
    ids=lambda method: str(method.NAME),
)
def test_a_peer_that_falls_silent_before_a_channel_serves_acks_nothing(
    feeding: Feeding, silent_at: type
) -> None:
    with amqp_peer(Peer(lambda talk: talk.ack(talk.tag), silent_at)) as peer:
        journals = fed(feeding, peer)
    assert silent_at in peer.asked
    assert statuses(journals)["acked"] == 0
    assert peer.published == [], "what is called refused never left"


def _twice(talk: Talk) -> None:
    talk.ack(talk.tag)
    talk.ack(talk.tag)
    talk.ack(talk.tag, multiple=True)


def _and_nacked(talk: Talk) -> None:
    talk.ack(talk.tag)
    talk.say(spec.Basic.Nack(talk.tag))
    talk.say(spec.Basic.Nack(talk.tag, multiple=True))


def _and_returned(talk: Talk) -> None:
    talk.give_back(b'{"producer": 77, "sequence": 5, "payload": ""}')
    talk.ack(talk.tag)
    talk.give_back(talk.peer.published[-1])


@pytest.mark.parametrize("confirm", [_twice, _and_nacked, _and_returned])
def test_what_is_confirmed_once_stays_so(feeding: Feeding, confirm: Callable[[Talk], None]) -> None:
    with amqp_peer(Peer(confirm)) as peer:
        journals = fed(feeding, peer)
    assert statuses(journals) == Counter(acked=EVENTS, refused=0, unknown=0)


def test_an_answer_for_what_was_never_published_decides_nothing(feeding: Feeding) -> None:
    strange = [
        word(tag, multiple)
        for word in (spec.Basic.Ack, spec.Basic.Nack)
        for tag in (0, 1000, LAST_TAG)
        for multiple in (False, True)
    ]

    def answer(talk: Talk) -> None:
        for each in strange:
            talk.say(each)

    with amqp_peer(Peer(first_ones(answer))) as peer:
        journals = fed(feeding, peer)
    assert len(peer.published) == EVENTS
    assert statuses(journals) == Counter(acked=CONFIRMED, refused=0, unknown=EVENTS - CONFIRMED)


def test_a_confirm_on_a_channel_that_nobody_opened_decides_nothing(feeding: Feeding) -> None:
    with amqp_peer(Peer(first_ones(lambda talk: talk.ack(talk.tag, channel=7)))) as peer:
        journals = fed(feeding, peer)
    assert statuses(journals)["acked"] == CONFIRMED
    assert refused_and_published(journals, peer) == set()


def _method(payload: bytes) -> bytes:
    return struct.pack(">BHL", spec.FRAME_METHOD, 1, len(payload)) + payload + b"\xce"


GARBAGE = {
    "noise": bytes(range(256)) * 8,
    "another protocol": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a greeting": b"AMQP\x00\x00\x09\x01",
    "no end of a frame": frame.Method(1, spec.Basic.Ack(1)).marshal()[:-1] + b"\x00",
    "no such method": _method(struct.pack(">I", 0x003C_0FFF)),
    "a method cut short": _method(struct.pack(">IH", spec.Basic.Ack.INDEX, 1)),
    "a body of nothing": frame.Body(1, b"x").marshal(),
    "a frame without an end": struct.pack(">BHL", spec.FRAME_METHOD, 1, 0xFFFF_FFFF),
    "half a frame": frame.Method(1, spec.Basic.Ack(1)).marshal()[:9],
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=list(GARBAGE))
def test_garbage_decides_nothing(feeding: Feeding, garbage: bytes) -> None:
    with amqp_peer(Peer(first_ones(lambda talk: talk.send(garbage)))) as peer:
        journals = fed(feeding, peer)
    assert statuses(journals)["acked"] == CONFIRMED
    assert len(peer.published) > CONFIRMED, "the garbage was sent"
    assert refused_and_published(journals, peer) == set()


@pytest.mark.parametrize("garbage", ["", "noise", "half a frame"])
def test_garbage_in_place_of_a_greeting_acks_nothing(feeding: Feeding, garbage: str) -> None:
    greeting = GARBAGE.get(garbage, b"")
    with amqp_peer(Peer(lambda talk: talk.ack(talk.tag), greeting=greeting)) as peer:
        journals = fed(feeding, peer)
    assert peer.asked
    assert set(peer.asked) == {frame.ProtocolHeader}
    assert statuses(journals)["acked"] == 0
    assert peer.published == [], "what is called refused never left"
