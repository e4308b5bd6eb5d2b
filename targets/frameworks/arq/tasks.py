"""A job that takes 50 ms and inserts one row."""

import asyncio
import os

import psycopg
from arq import create_pool
from arq.connections import RedisSettings

REDIS = RedisSettings.from_dsn(os.environ["REDIS_URL"])
TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


async def notify(ctx, producer, sequence, payload):
    await asyncio.sleep(0.05)
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(
            "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
            (producer, sequence, payload),
        )


async def startup(ctx):
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(TABLE)


class WorkerSettings:
    functions = [notify]
    on_startup = startup
    redis_settings = REDIS
    max_jobs = 5


class ShortTimeout:
    functions = [notify]
    on_startup = startup
    redis_settings = REDIS
    max_jobs = 5
    # A job that a dead worker had in hand may be taken again 10 s after this.
    job_timeout = 5
    job_completion_wait = 10


opened = asyncio.Lock()
pool = None


async def enqueue(producer, sequence, payload):
    global pool
    async with opened:
        pool = pool or await create_pool(REDIS)
    await pool.enqueue_job("notify", producer, sequence, payload, _job_id=f"{producer}-{sequence}")
