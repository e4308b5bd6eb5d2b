"""A job that takes 50 ms and inserts one row."""

import asyncio
import os

import psycopg
from saq import Queue

queue = Queue.from_url(os.environ["REDIS_URL"])
RETRIES = int(os.environ.get("RETRIES", "1"))

TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


async def notify(ctx, *, producer, sequence, payload):
    await asyncio.sleep(0.05)
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(
            "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
            (producer, sequence, payload),
        )


async def startup(ctx):
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(TABLE)
    print("takes jobs", flush=True)


settings = {"queue": queue, "functions": [notify], "concurrency": 5, "startup": startup}
# Jobs that are stuck are looked for every 5 s rather than every minute.
sweeping = settings | {"timers": {"sweep": 5}, "shutdown_grace_period_s": 10}


async def enqueue(producer, sequence, payload):
    await queue.enqueue(
        "notify",
        key=f"{producer}-{sequence}",
        retries=RETRIES,
        producer=producer,
        sequence=sequence,
        payload=payload,
    )
