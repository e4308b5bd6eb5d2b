"""HTTP in front of the dispatcher."""

from __future__ import annotations

import asyncio
import math
import os
from http import HTTPStatus

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lossmeter_dispatcher.core import Dispatcher
from lossmeter_dispatcher.events import EVENT, EVENTS, Event
from lossmeter_dispatcher.intake import IntakeClosedError, RateLimitedError
from lossmeter_dispatcher.queues.protocol import QueueFullError, QueueUnsureError
from lossmeter_dispatcher.store import DatabaseError

MAX_ARRAY = 10_000

# A 429 or 503 is a refusal: provably without effect. A 504, like a 500, leaves open whether
# the event was taken.
_ANSWERS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    QueueFullError: (HTTPStatus.SERVICE_UNAVAILABLE, "queue is full"),
    IntakeClosedError: (HTTPStatus.SERVICE_UNAVAILABLE, "shutting down"),
    RateLimitedError: (HTTPStatus.TOO_MANY_REQUESTS, "rate limit exceeded"),
    QueueUnsureError: (HTTPStatus.GATEWAY_TIMEOUT, "the queue did not answer"),
}


# The answer to nearly every request, made once.
_TAKEN_BODY = b'{"queued":1}'
_TAKEN: tuple[Message, Message] = (
    {
        "type": "http.response.start",
        "status": HTTPStatus.ACCEPTED.value,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(_TAKEN_BODY)),
        ],
    },
    {"type": "http.response.body", "body": _TAKEN_BODY},
)


class Intake:
    """``POST /events``, as bare ASGI: routing would take as long as the rest of it."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one event or an array: 202 when all are queued."""
        body = await _body(receive)
        if body is None:
            # The client has gone, before the event was whole.
            return
        response = await self._answer(body)
        if response is None:
            for message in _TAKEN:
                await send(message)
        else:
            await response(scope, receive, send)

    async def _answer(self, body: bytes) -> Response | None:
        """Return the answer; None when one event was taken."""
        several = body.lstrip().startswith(b"[")
        try:
            events = EVENTS.validate_json(body) if several else [EVENT.validate_json(body)]
        except ValidationError as error:
            return _error(HTTPStatus.UNPROCESSABLE_ENTITY, _sentence(error))
        if not several:
            outcome = await self._push(events[0])
            return None if outcome is None else _refusal(outcome)
        if len(events) > MAX_ARRAY:
            text = f"{len(events)} events are too many, {MAX_ARRAY} at once are allowed"
            return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        return _several(await asyncio.gather(*map(self._push, events)))

    async def _push(self, event: Event) -> Exception | None:
        try:
            await self._dispatcher.push(event)
        except tuple(_ANSWERS) as error:
            return error
        return None


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request; None when the client went away."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


class Api:
    """The routes of one dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def application(self) -> ASGIApp:
        """Return the ASGI application."""
        intake, rest = Intake(self._dispatcher), self._routes()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            http = scope["type"] == "http"
            if http and scope["path"] == "/events" and scope["method"] == "POST":
                await intake(scope, receive, send)
            else:
                await rest(scope, receive, send)

        return application

    def _routes(self) -> Starlette:
        routes = [
            # Reached by other methods only, which it refuses.
            Route("/events", Intake(self._dispatcher), methods=["POST"]),
            Route("/dead-letters/replay", self.replay, methods=["POST"]),
            Route("/metrics", self.metrics),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/state", self.state),
        ]
        if self._dispatcher.settings.panic_endpoint:
            routes.append(Route("/panic", self.panic, methods=["POST"]))
        return Starlette(routes=routes)

    async def replay(self, request: Request) -> Response:
        """Put the dead letters back into the queue."""
        del request
        try:
            return JSONResponse({"replayed": await self._dispatcher.replay()})
        except DatabaseError as error:
            text = f"the dead letters are away: {error}"
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, text)

    async def panic(self, request: Request) -> Response:
        """Have a worker meet an error that nobody handles; there is no answer afterwards."""
        del request
        self._dispatcher.panic()
        return JSONResponse({"status": "about to abort"}, HTTPStatus.ACCEPTED)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics page."""
        del request
        page = self._dispatcher.metrics.page(await self._dispatcher.queue.length())
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def healthz(self, request: Request) -> Response:
        """Return 200 while the process lives."""
        del request
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """Return 200 when events can be taken, else 503 with the reason."""
        del request
        why = await self._dispatcher.unready()
        return JSONResponse(
            {"status": why or "ready"}, HTTPStatus.SERVICE_UNAVAILABLE if why else 200
        )

    async def state(self, request: Request) -> Response:
        """Return what the dispatcher holds, and which life of it this is."""
        counted = "dead_letters" in request.query_params
        d = self._dispatcher
        state = {
            "queue_length": await d.queue.length(),
            # What waits for a retry is still in hand: it dies with the process.
            "in_flight": d.in_flight + d.waiting_retry,
            "waiting_retry": d.waiting_retry,
            "slow_aside": d.slow.under_way,
            "boot_id": d.boot_id,
            "pid": os.getpid(),
            "started_at_ns": d.started_at_ns,
            "accepting": d.accepting,
            "counts": d.metrics.counts(),
        }
        if counted:
            # Counting may ask the database, so it is done only when asked for.
            state["dead_letters"] = await d.dead_letter_count()
        return JSONResponse(state)


def _refusal(outcome: Exception) -> Response:
    status, text = _ANSWERS[type(outcome)]
    headers = {}
    if isinstance(outcome, RateLimitedError):
        headers["Retry-After"] = str(math.ceil(outcome.retry_after_s))
    return JSONResponse({"error": text}, status, headers)


def _several(outcomes: list[Exception | None]) -> Response:
    refused = [outcome for outcome in outcomes if outcome is not None]
    if not refused:
        return JSONResponse({"queued": len(outcomes)}, HTTPStatus.ACCEPTED)
    if len(refused) == len(outcomes) and len({type(error) for error in refused}) == 1:
        return _refusal(refused[0])
    results = ["queued" if o is None else _ANSWERS[type(o)][1] for o in outcomes]
    return JSONResponse({"results": results}, HTTPStatus.MULTI_STATUS)


def _error(status: HTTPStatus, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) or "body"
    return f"{where}: {problem['msg']}"
