"""Dramatiq: processes of threads; it acknowledges after the actor by nature."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers import REDIS, insert

dramatiq.set_broker(RedisBroker(url=os.environ[REDIS]))  # type: ignore[no-untyped-call]
handle = dramatiq.actor(insert)
