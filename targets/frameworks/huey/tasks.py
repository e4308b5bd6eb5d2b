"""A task that takes 50 ms and inserts one row."""

import os
import time

import psycopg
from huey import RedisHuey

huey = RedisHuey("events", url=os.environ["REDIS_URL"])

TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


@huey.on_startup()
def create_table():
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        # Several threads begin at once.
        database.execute("select pg_advisory_xact_lock(1)")
        database.execute(TABLE)


@huey.task()
def notify(producer, sequence, payload):
    time.sleep(0.05)
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(
            "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
            (producer, sequence, payload),
        )
