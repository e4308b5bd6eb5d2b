"""The dispatcher on a Redis stream that acknowledges before it inserts: a planted bug.

Started in place of ``targets.dispatcher``, which contains nothing of it.
"""

from __future__ import annotations

from targets.dispatcher import __main__ as dispatcher
from targets.dispatcher import queues
from targets.dispatcher.config import QueueSettings
from targets.dispatcher.queues.protocol import Delivery
from targets.dispatcher.queues.redis import RedisStreamQueue


class EarlyAck(RedisStreamQueue):
    """Takes an entry off the stream as soon as a worker has it."""

    async def take(self) -> Delivery:
        delivery = await super().take()
        await super().ack(delivery)
        return delivery

    async def ack(self, delivery: Delivery) -> None:
        """Do nothing: it was done too early."""


def _build(settings: QueueSettings, workers: int) -> EarlyAck:
    return EarlyAck(settings, workers)


if __name__ == "__main__":
    queues.build = _build
    dispatcher.main()
