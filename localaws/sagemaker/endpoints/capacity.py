"""The slots of an instance with limited capacity, and the route that changes the limits at run time.

A request over the limit waits in the instance's queue, as it would in the container's, and gets the container's 503
when the queue is full. Each request holds its slot for its least time, or longer if it takes longer. Slots belong to
the event loop that routes requests.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from localaws.auth.routes import OpenRoute
from localaws.capacity import CapacityTable, InstanceCapacity, Limit
from localaws.sagemaker.endpoints.connections import Reply

HOSTING_PATH = "/_localaws/capacity/hosting"
DEFAULT_QUEUE_SIZE = 100  # the model server's own

Exchange = Callable[[bytes, bytes], Awaitable[Reply]]


class Slots:
    """At most `limit.concurrency` exchanges at once, in the order of arrival, and at most `queue_size` waiting."""

    def __init__(self, limit: Limit, *, queue_size: int = DEFAULT_QUEUE_SIZE) -> None:
        self._floor_seconds = limit.floor_seconds
        self._concurrency = limit.concurrency
        self._queue_size = queue_size
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def exchange(self, exchange: Exchange, head: bytes, body: bytes) -> Reply:
        """Wait for a slot, make the exchange and keep the slot for its least time; what it raises comes through."""
        if self._taken >= self._concurrency:
            if len(self._waiting) >= self._queue_size:
                return self._refusal()
            await self._wait()
        else:
            self._taken += 1
        started = time.perf_counter()
        try:
            reply = await exchange(head, body)
            left = self._floor_seconds - (time.perf_counter() - started)
            if left > 0:
                await asyncio.sleep(left)
            return reply
        finally:
            self._pass_on()

    async def _wait(self) -> None:
        """Wait until a slot is handed over."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # handed over at the very moment that the wait was given up
            else:
                self._waiting.remove(turn)
            raise

    def _pass_on(self) -> None:
        """Hand the slot to the request that waits longest, or give it back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1

    def _refusal(self) -> Reply:
        inside = self._taken + len(self._waiting)
        message = f"{inside} requests are already being served or waiting"
        body = json.dumps({"error": {"code": "ServiceUnavailable", "message": message}}).encode()
        return Reply(503, {b"content-type": b"application/json"}, body)


def capacity_routes(table: CapacityTable, apply: Callable[[], None]) -> list[BaseRoute]:
    """Return the routes that show the rules (GET) and change them (POST); `apply` has the instances follow."""

    async def show(_: Request) -> Response:
        return JSONResponse(
            {name: {"concurrency": rule.concurrency, "floor_ms": rule.floor_ms} for name, rule in table.rules.items()}
        )

    async def change(request: Request) -> Response:
        try:
            table.change(_changes(await request.body()))
        except (ValueError, TypeError, RecursionError) as error:
            return JSONResponse({"error": f"POST {request.url.path}: {error}"}, 400)
        apply()
        return await show(request)

    return [OpenRoute(HOSTING_PATH, show), Route(HOSTING_PATH, change, methods=["POST"])]


def _changes(body: bytes) -> dict[str, InstanceCapacity | None]:
    """Return what `{"ml.m5.large": {"concurrency": 2, "floor_ms": 50}, "ml.c5.large": null}` says.

    Raises:
        ValueError, TypeError: it says something else.
    """
    rows = json.loads(body)
    if not isinstance(rows, dict):
        raise TypeError(f"the body must be an object of instance types, it is {type(rows).__name__}")
    return {name: None if row is None else InstanceCapacity(**row) for name, row in rows.items()}
