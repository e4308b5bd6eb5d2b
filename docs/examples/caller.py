"""A small dispatcher of your own: a queue in memory, and workers that call a webhook."""

import asyncio
import os
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

HOOK = urlsplit(os.environ["WEBHOOK_URL"])
JOBS: asyncio.Queue[bytes] = asyncio.Queue()
STATE = {"in_flight": 0}


async def take(request):
    await JOBS.put(await request.body())
    return JSONResponse({}, 202)


async def state(_):
    return JSONResponse({**STATE, "queue_length": JOBS.qsize()})


def call(body):
    connection = HTTPConnection(HOOK.netloc, timeout=5)
    try:
        connection.request("POST", HOOK.path, body)
        connection.getresponse()
    except (OSError, HTTPException) as error:
        print("lost:", error)
    finally:
        connection.close()


async def work():
    while True:
        body = await JOBS.get()
        STATE["in_flight"] += 1
        await asyncio.to_thread(call, body)
        STATE["in_flight"] -= 1


@asynccontextmanager
async def lifespan(_):
    workers = [asyncio.create_task(work()) for _ in range(4)]
    yield
    for worker in workers:
        worker.cancel()


ROUTES = [Route("/events", take, methods=["POST"]), Route("/state", state)]
uvicorn.run(Starlette(routes=ROUTES, lifespan=lifespan), port=int(os.environ["PORT"]))
