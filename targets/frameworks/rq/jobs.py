"""A job that takes 50 ms and inserts one row."""

import os
import time

import psycopg
from redis import Redis
from rq import Queue, Retry

queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))

TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


def notify(producer, sequence, payload):
    time.sleep(0.05)
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(
            "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
            (producer, sequence, payload),
        )


def enqueue(producer, sequence, payload, job_id):
    queue.enqueue(notify, producer, sequence, payload, job_id=job_id, retry=Retry(max=3))


if __name__ == "__main__":
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(TABLE)
