"""A small dispatcher of your own: a queue in memory, and workers that insert into PostgreSQL."""

import asyncio
import os
import uuid
from contextlib import asynccontextmanager

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

DATABASE, WORKERS = os.environ["DATABASE_URL"], int(os.environ["WORKERS"])
TABLE = "create table if not exists job (n bigserial, ident text, body text, at timestamptz)"
INSERT = "insert into job (ident, body, at) values (%s, %s, clock_timestamp())"
JOBS: asyncio.Queue[dict[str, str]] = asyncio.Queue(maxsize=5000)
STATE = {"queue_length": 0, "in_flight": 0, "boot_id": uuid.uuid4().hex}


async def take(request):
    try:
        JOBS.put_nowait(await request.json())
    except asyncio.QueueFull:
        return JSONResponse({"error": "queue is full"}, 429)
    return JSONResponse({}, 202)


async def state(_):
    return JSONResponse({**STATE, "queue_length": JOBS.qsize()})


async def work():
    async with await psycopg.AsyncConnection.connect(DATABASE, autocommit=True) as database:
        while True:
            job = await JOBS.get()
            STATE["in_flight"] += 1
            await asyncio.sleep(float(os.environ["HANDLER_TIME_S"]))
            await database.execute(INSERT, (job["ident"], job["body"]))
            STATE["in_flight"] -= 1


@asynccontextmanager
async def lifespan(_):
    async with await psycopg.AsyncConnection.connect(DATABASE, autocommit=True) as database:
        await database.execute(TABLE)
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    yield
    for worker in workers:
        worker.cancel()


ROUTES = [Route("/jobs", take, methods=["POST"]), Route("/state", state)]
uvicorn.run(Starlette(routes=ROUTES, lifespan=lifespan), port=int(os.environ["PORT"]))
