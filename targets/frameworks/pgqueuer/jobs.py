"""A job that takes 50 ms and inserts one row."""

import asyncio
import json
import os
from contextlib import asynccontextmanager

import psycopg
from pgqueuer import PgQueuer, Queries, run

URL = os.environ["DATABASE_URL"]
TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


@asynccontextmanager
async def main():
    connection = await psycopg.AsyncConnection.connect(URL, autocommit=True)
    queue = PgQueuer.from_psycopg_connection(connection)

    @queue.entrypoint("notify", concurrency_limit=5)
    async def notify(job):
        event = json.loads(job.payload)
        await asyncio.sleep(0.05)
        async with await psycopg.AsyncConnection.connect(URL) as database:
            await database.execute(
                "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
                (event["producer"], event["sequence"], event["payload"]),
            )

    print("takes jobs", flush=True)
    async with connection:
        yield queue


opened = asyncio.Lock()
queries = None


async def enqueue(producer, sequence, payload):
    global queries
    async with opened:
        if queries is None:
            connection = await psycopg.AsyncConnection.connect(URL, autocommit=True)
            queries = Queries.from_psycopg_connection(connection)
    event = {"producer": producer, "sequence": sequence, "payload": payload}
    await queries.enqueue("notify", json.dumps(event).encode())


async def migrate():
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as database:
        await database.execute(TABLE)
        found = await database.execute("select to_regclass('pgqueuer')")
        (there,) = await found.fetchone()
        if there is None:
            await Queries.from_psycopg_connection(database).install()


if __name__ == "__main__":
    asyncio.run(migrate())
    asyncio.run(run(main))
