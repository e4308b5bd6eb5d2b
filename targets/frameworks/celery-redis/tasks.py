"""A task that takes 50 ms and inserts one row."""

import os
import time

import psycopg
from celery import Celery
from celery.signals import worker_init

app = Celery("tasks", broker=os.environ["CELERY_BROKER_URL"])
if "CELERY_CONFIG_MODULE" in os.environ:
    app.config_from_envvar("CELERY_CONFIG_MODULE")

TABLE = """
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text,
    at timestamptz default clock_timestamp()
)
"""


@worker_init.connect
def create_table(**_):
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(TABLE)


@app.task
def notify(producer, sequence, payload):
    time.sleep(0.05)
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(
            "insert into notice (producer, sequence, payload) values (%s, %s, %s)",
            (producer, sequence, payload),
        )
