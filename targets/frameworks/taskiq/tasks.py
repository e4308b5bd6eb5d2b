"""A task that takes 50 ms and inserts one row; BROKER says which broker of Taskiq."""

import asyncio
import os

import psycopg
from taskiq import TaskiqEvents
from taskiq_redis import ListQueueBroker, RedisStreamBroker

URL = os.environ["REDIS_URL"]
if os.environ["BROKER"] == "list":
    broker = ListQueueBroker(URL)
elif os.environ["BROKER"] == "stream":
    broker = RedisStreamBroker(URL)
else:
    # What is not acked for 10 s is claimed; a claimer that died holds its lock for 5 s.
    broker = RedisStreamBroker(URL, idle_timeout=10_000, unacknowledged_lock_timeout=5)

TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def create_table(_):
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(TABLE)


@broker.task
async def notify(producer, sequence, payload):
    await asyncio.sleep(0.05)
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(
            "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
            (producer, sequence, payload),
        )


opened = asyncio.Lock()
is_open = False


async def enqueue(producer, sequence, payload):
    global is_open
    async with opened:
        if not is_open:
            await broker.startup()
            is_open = True
    await notify.kiq(producer, sequence, payload)
