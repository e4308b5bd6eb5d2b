"""Takes a second for an event and inserts one row; a stop waits 0.1 s for what is in hand."""

import asyncio
import os

import psycopg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.security import SASLPlaintext

ADDRESS = os.environ["BROKERS"]
USER, PASSWORD = os.environ["BROKERS_USERNAME"], os.environ["BROKERS_PASSWORD"]
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

broker = KafkaBroker(
    ADDRESS, security=SASLPlaintext(username=USER, password=PASSWORD), graceful_timeout=0.1
)
app = FastStream(broker)


@app.on_startup
async def tables():
    admin = AIOKafkaAdminClient(
        bootstrap_servers=ADDRESS,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=USER,
        sasl_plain_password=PASSWORD,
    )
    await admin.start()
    if "events" not in await admin.list_topics():
        await admin.create_topics([NewTopic("events", 1, 1)])
    await admin.close()
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(TABLE)


@broker.subscriber(
    "events",
    group_id="consumer",
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.REJECT_ON_ERROR,
)
async def handle(event: dict):
    await asyncio.sleep(1)
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(INSERT, event)
