"""The dispatcher on a Redis stream that acknowledges before it inserts: a planted bug.

Started in place of ``lossmeter_dispatcher``, which contains nothing of it.
"""

from __future__ import annotations

from lossmeter_dispatcher import __main__ as dispatcher
from lossmeter_dispatcher import queues
from lossmeter_dispatcher.config import QueueSettings
from lossmeter_dispatcher.queues.protocol import Delivery
from lossmeter_dispatcher.queues.redis import RedisStreamQueue


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
