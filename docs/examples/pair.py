"""A dispatcher of two processes, with a list in Redis between them: ``pair.py web`` or ``worker``.

The web process acks an event when Redis has it. The worker inserts it, and takes it from the
list of what is in hand only then; what that list holds when it starts it does first.
"""

import json
import os
import sys

import psycopg
import redis
import redis.asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

REDIS = os.environ["REDIS_URL"]
JOBS, IN_HAND = "jobs", "in-hand"
TABLE = """
create table if not exists job (
    n bigserial, ident text unique, body text, at timestamptz default clock_timestamp()
)
"""
INSERT = "insert into job (ident, body) values (%s, %s) on conflict do nothing"


def web():
    jobs = redis.asyncio.from_url(REDIS)

    async def take(request):
        await jobs.rpush(JOBS, await request.body())
        return JSONResponse({}, 202)

    async def health(_):
        return JSONResponse({})

    routes = [Route("/jobs", take, methods=["POST"]), Route("/health", health)]
    uvicorn.run(Starlette(routes=routes), host=os.environ["HOST"], port=int(os.environ["PORT"]))


def work():
    jobs = redis.from_url(REDIS)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute(TABLE)
        while jobs.lmove(IN_HAND, JOBS, "RIGHT", "LEFT"):
            pass
        sys.stdout.write("takes jobs\n")
        while True:
            taken = jobs.blmove(JOBS, IN_HAND, 1, "LEFT", "RIGHT")
            if taken is not None:
                job = json.loads(taken)
                database.execute(INSERT, (job["ident"], job["body"]))
                jobs.lrem(IN_HAND, 1, taken)


web() if sys.argv[1] == "web" else work()
