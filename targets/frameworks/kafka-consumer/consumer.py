"""Inserts one row an event, and commits its offset then."""

import json
import os

import psycopg
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

BROKERS = {
    "bootstrap.servers": os.environ["BROKERS"],
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": os.environ["BROKERS_USERNAME"],
    "sasl.password": os.environ["BROKERS_PASSWORD"],
}
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


def main():
    admin = AdminClient(BROKERS)
    if "events" not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic("events", num_partitions=1)])["events"].result()
    group = {"group.id": "consumer", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer(BROKERS | group)
    consumer.subscribe(["events"])
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute(TABLE)
        print("takes events", flush=True)
        while True:
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            database.execute(INSERT, json.loads(message.value()))
            consumer.commit(message)


if __name__ == "__main__":
    main()
