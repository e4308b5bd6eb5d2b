"""Takes 50 ms for an event and inserts one row, 5 events at once; COMMIT says who commits."""

import asyncio
import json
import os

import psycopg
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

BROKERS = {
    "bootstrap_servers": os.environ["BROKERS"],
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": os.environ["BROKERS_USERNAME"],
    "sasl_plain_password": os.environ["BROKERS_PASSWORD"],
}
BY_HAND = os.environ["COMMIT"] == "after-insert"
TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""
INSERT = """
insert into notice (producer, sequence, payload)
values (%(producer)s, %(sequence)s, %(payload)s)
"""


async def handle(message):
    await asyncio.sleep(0.05)
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(INSERT, json.loads(message.value))


async def main():
    admin = AIOKafkaAdminClient(**BROKERS)
    await admin.start()
    if "events" not in await admin.list_topics():
        await admin.create_topics([NewTopic("events", 1, 1)])
    await admin.close()
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(TABLE)
    consumer = AIOKafkaConsumer(
        "events",
        group_id="consumer",
        auto_offset_reset="earliest",
        enable_auto_commit=not BY_HAND,
        **BROKERS,
    )
    async with consumer:
        print("takes events", flush=True)
        while True:
            found = await consumer.getmany(timeout_ms=1000, max_records=5)
            messages = [message for batch in found.values() for message in batch]
            await asyncio.gather(*map(handle, messages))
            if BY_HAND and messages:
                await consumer.commit()


asyncio.run(main())
