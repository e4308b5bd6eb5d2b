"""An actor that takes 50 ms and inserts one row."""

import os
import time

import dramatiq
import psycopg
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))

TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


@dramatiq.actor
def notify(producer, sequence, payload):
    time.sleep(0.05)
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(
            "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
            (producer, sequence, payload),
        )


if __name__ == "__main__":
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(TABLE)
