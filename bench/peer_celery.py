"""Celery: prefork, acknowledged late."""

import os

from celery import Celery

from bench.peers import REDIS, insert

app = Celery("bench", broker=os.environ[REDIS])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=32,
)
handle = app.task(name="insert")(insert)
