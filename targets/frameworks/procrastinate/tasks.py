"""A task that takes 50 ms and inserts one row."""

import asyncio
import os

import psycopg
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))

TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


@app.task
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
            await app.open_async()
            is_open = True
    await notify.defer_async(producer=producer, sequence=sequence, payload=payload)


async def migrate():
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(TABLE)
        found = await database.execute("select to_regclass('procrastinate_jobs')")
        (there,) = await found.fetchone()
    if there is None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()


if __name__ == "__main__":
    asyncio.run(migrate())
