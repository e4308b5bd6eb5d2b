"""RQ: two workers that do not fork for each job, as one process each."""

import multiprocessing
import os

from redis import Redis
from rq import Queue, SimpleWorker

from bench.peers import REDIS


def _work() -> None:
    client = Redis.from_url(os.environ[REDIS])
    SimpleWorker([Queue(connection=client)], connection=client).work(logging_level="ERROR")


if __name__ == "__main__":
    workers = [multiprocessing.Process(target=_work, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
