"""Routes `POST /endpoints/{name}/invocations` from the front's event loop to a model server and back.

A variant is drawn by weight, unless the caller names one; its instance with the fewest outstanding requests gets the
request. An instance that refuses the connection is skipped. A connection that breaks after the request was sent is an
error, because the model may have handled the request. What is captured, and the copy for a shadow variant, are handed
over after the answer has been sent.
"""

import asyncio
import contextlib
import itertools
import random
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localaws.partition import partition
from localaws.sagemaker.endpoints.capture import Capture, Invocation, Message
from localaws.sagemaker.endpoints.connections import ConnectFailed, ConnectionLost, Reply
from localaws.sagemaker.endpoints.errors import InvokeError
from localaws.sagemaker.endpoints.fleets import Fleet
from localaws.sagemaker.endpoints.instances import Instance
from localaws.sagemaker.endpoints.metrics import VariantMetrics
from localaws.sagemaker.endpoints.plan import LEAST_OUTSTANDING
from localaws.sagemaker.endpoints.shadows import Copies, is_copied

MAX_BODY_BYTES = 6 * 1024 * 1024  # AWS's limit on the body of InvokeEndpoint
INVOCATION_SECONDS = 60.0  # what AWS gives a container, in real time
FENCE_SECONDS = 5.0
TIMED_OUT = (
    'with message "Your invocation timed out while waiting for a response from container primary. Review the latency '
    'metrics for each container in Amazon CloudWatch, resolve the issue, and try again."'
)
PREFIX = b"x-amzn-sagemaker-"
CUSTOM_ATTRIBUTES = PREFIX + b"custom-attributes"
INFERENCE_ID = PREFIX + b"inference-id"
PASSED_ON = frozenset({b"content-type", b"accept", CUSTOM_ATTRIBUTES, INFERENCE_ID})
TARGET_VARIANT = PREFIX + b"target-variant"
UNSUPPORTED = {
    PREFIX + b"target-model": "TargetModel",
    PREFIX + b"target-container-hostname": "TargetContainerHostname",
    PREFIX + b"inference-component": "InferenceComponentName",
    PREFIX + b"session-id": "SessionId",
    PREFIX + b"enable-explanations": "EnableExplanations",
    PREFIX + b"prefix-aware-id": "PrefixAwareId",
}


@dataclass(frozen=True)
class VariantRoute:
    """A variant that takes requests, with its share of them: `weight` over the sum of all weights.

    While an update shifts traffic, a variant has two routes, to its old and its new fleet: `share` is that of the
    variant's requests, `active` how many instances of the fleet take them (None: all), and `other` the other fleet,
    which takes those that no instance of this one is left for. `capture`: what keeps sampled requests, if any are kept.
    """

    name: str
    weight: float
    fleet: Fleet
    metrics: VariantMetrics
    share: float = 1.0
    active: int | None = None
    other: "VariantRoute | None" = None
    capture: Capture | None = None

    @property
    def serving(self) -> tuple[Instance, ...]:
        """The instances that take requests by this route."""
        return self.fleet.serving[: self.active]

    @property
    def instance_count(self) -> int:
        """How many instances take the variant's requests."""
        return len(self.serving) + (len(self.other.serving) if self.other else 0)


@dataclass(frozen=True)
class ShadowRoute:
    """The variant that gets copies of the requests to the production variant."""

    variant: VariantRoute
    copies: Copies


@dataclass(frozen=True)
class EndpointRoute:
    """Where an endpoint's requests go. Replaced whole when anything changes."""

    name: str
    account_id: str
    region: str
    variants: tuple[VariantRoute, ...]
    shadow: ShadowRoute | None = None

    @property
    def log_group_arn(self) -> str:
        """What AWS puts in LogStreamArn."""
        return f"arn:{partition()}:logs:{self.region}:{self.account_id}:log-group:/aws/sagemaker/Endpoints/{self.name}"


@dataclass(frozen=True)
class _Request:
    """A request as the models get it. `event_id`: under which it is captured, None if it is not."""

    headers: Mapping[bytes, bytes]
    body: bytes
    event_id: str | None

    def head(self) -> bytes:
        """Return the head of the HTTP request to a container."""
        lines = [b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n" % len(self.body)]
        lines += [b"%b: %b\r\n" % (name, self.headers[name]) for name in PASSED_ON if name in self.headers]
        lines.append(b"\r\n")
        return b"".join(lines)

    def text(self, header: bytes) -> str | None:
        """Return the value of a header."""
        value = self.headers.get(header)
        return None if value is None else value.decode("latin1")


class InvocationRouter:
    """A bare ASGI application. `routes` maps endpoint names to their routes; other threads replace its values."""

    def __init__(
        self, routes: Mapping[str, EndpointRoute], account_id: str, *, invocation_seconds: float = INVOCATION_SECONDS
    ) -> None:
        self._routes = routes
        self._account_id = account_id
        self._invocation_seconds = invocation_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = itertools.count()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one InvokeEndpoint."""
        started = time.perf_counter()
        self._loop = asyncio.get_running_loop()
        try:
            body = await _read_body(receive)
            headers = dict(scope["headers"])
            route = self._route(scope["path_params"]["name"])
            variant = _choose_variant(route, headers)
        except InvokeError as error:
            await _send_error(send, error)
            return
        request = _Request(headers, body, variant.capture.draw() if variant.capture else None)
        try:
            await self._answer(send, route, variant, request, started)
        finally:
            self._copy(route, variant, request)

    def fence(self) -> None:
        """Return once every request that read the routes before has chosen its instance. For other threads."""
        if self._loop is None:
            return
        passed = threading.Event()
        self._loop.call_soon_threadsafe(passed.set)
        passed.wait(FENCE_SECONDS)

    def _route(self, name: str) -> EndpointRoute:
        route = self._routes.get(name)
        if route is None:
            raise InvokeError("ValidationError", f"Endpoint {name} of account {self._account_id} not found.")
        return route

    async def _answer(
        self, send: Any, route: EndpointRoute, variant: VariantRoute, request: _Request, started: float
    ) -> None:
        try:
            reply = await self._invoke(route, variant, request, started)
        except InvokeError as error:
            await _send_error(send, error)
            return
        await _send_reply(send, reply, variant.name)
        _capture(variant, request, reply)

    def _copy(self, route: EndpointRoute, production: VariantRoute, request: _Request) -> None:
        """Have the shadow variant get the request too, if it is drawn; nobody waits for it."""
        shadow = route.shadow
        if shadow is None or not is_copied(production.weight, shadow.variant.weight):
            return

        async def send_copy() -> None:
            with contextlib.suppress(InvokeError):  # the metrics have it, and there is nobody else to tell
                reply = await self._invoke(route, shadow.variant, request, time.perf_counter())
                _capture(shadow.variant, request, reply)

        shadow.copies.start(send_copy, len(request.body))

    async def _invoke(self, route: EndpointRoute, variant: VariantRoute, request: _Request, started: float) -> Reply:
        count = variant.instance_count
        status: int | None = None
        sent = time.perf_counter()
        try:
            reply = await self._exchange(route, variant, request.head(), request.body)
            status = reply.status
        finally:
            answered = time.perf_counter()
            variant.metrics.record(
                status, instances=count, model_seconds=answered - sent, overhead_seconds=sent - started
            )
        if not 200 <= reply.status < 300:
            raise _model_error(route, reply.status, reply.body.decode("utf-8", "replace"))
        return reply

    async def _exchange(self, route: EndpointRoute, variant: VariantRoute, head: bytes, body: bytes) -> Reply:
        refused: set[Instance] = set()
        while True:
            instance = self._choose_instance(variant, refused)
            if instance is None:
                message = f"The endpoint {route.name} has no instance in service in variant {variant.name}."
                raise InvokeError("ServiceUnavailable", message, status=503)
            instance.outstanding += 1
            instance.asked_at = time.monotonic()
            if instance.outstanding > instance.peak:
                instance.peak = instance.outstanding
            try:
                async with asyncio.timeout(self._invocation_seconds):
                    if instance.slots is not None:
                        return await instance.slots.exchange(instance.connections.exchange, head, body)
                    return await instance.connections.exchange(head, body)
            except ConnectFailed:
                refused.add(instance)
            except ConnectionLost as error:
                raise _no_answer(route, "and could not load the entire response body", str(error)) from error
            except TimeoutError as error:
                raise _no_answer(route, TIMED_OUT, f"no answer in {self._invocation_seconds:.0f} s") from error
            finally:
                instance.outstanding -= 1

    def _choose_instance(self, variant: VariantRoute, refused: set[Instance]) -> Instance | None:
        serving = variant.serving
        if refused:
            serving = tuple(instance for instance in serving if instance not in refused)
        if not serving and variant.other is not None:
            return self._choose_instance(variant.other, refused)
        if len(serving) < 2:
            return serving[0] if serving else None
        if variant.fleet.launch.variant.routing != LEAST_OUTSTANDING:
            return random.choice(serving)
        turn = next(self._turn) % len(serving)
        return min((*serving[turn:], *serving[:turn]), key=_outstanding)


def refuse(operation: str) -> Any:
    """Return an ASGI application object that answers an operation which localaws lacks."""
    return _Refusal(operation)


@dataclass(frozen=True)
class _Refusal:
    operation: str

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(InvokeError):
            await _read_body(receive)
        await _send_error(send, InvokeError("ValidationError", f"{self.operation} is not supported by localaws."))


def _outstanding(instance: Instance) -> int:
    return instance.outstanding


def _choose_variant(route: EndpointRoute, headers: Mapping[bytes, bytes]) -> VariantRoute:
    for name, parameter in UNSUPPORTED.items():
        if name in headers:
            raise InvokeError("ValidationError", f"{parameter} is not supported by localaws for endpoint {route.name}.")
    target = headers.get(TARGET_VARIANT)
    if target is not None:
        wanted = target.decode("latin1")
        fleets = [variant for variant in route.variants if variant.name == wanted]
        if not fleets:
            raise InvokeError("ValidationError", f"Variant {wanted} not found for Request.")
        return random.choices(fleets, [each.share for each in fleets])[0]
    if len(route.variants) == 1:
        return route.variants[0]
    shares = [variant.share for variant in route.variants]
    weights = [each.weight * each.share for each in route.variants]
    return random.choices(route.variants, weights if any(weights) else shares)[0]


def _capture(variant: VariantRoute, request: _Request, reply: Reply) -> None:
    if variant.capture is None or request.event_id is None:
        return
    answered_as = reply.headers.get(b"content-type")
    variant.capture.offer(
        Invocation(
            variant.name,
            request.event_id,
            time.time(),
            Message(request.text(b"content-type"), request.body),
            Message(None if answered_as is None else answered_as.decode("latin1"), reply.body),
            inference_id=request.text(INFERENCE_ID),
            custom_attributes=request.text(CUSTOM_ATTRIBUTES),
        )
    )


async def _read_body(receive: Any) -> bytes:
    """Return the body; one that is too large is read to its end, so that the client gets to read the answer."""
    message = await _received(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= MAX_BODY_BYTES:
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        message = await _received(receive)
        size += len(message.get("body", b""))
        if size <= MAX_BODY_BYTES:
            chunks.append(message.get("body", b""))
    if size > MAX_BODY_BYTES:
        raise InvokeError(
            "ValidationError",
            f"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less "
            f"than or equal to {MAX_BODY_BYTES}, it has {size}",
            status=413,
        )
    return b"".join(chunks)


async def _received(receive: Any) -> Any:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise InvokeError("IncompleteBody", "The client disconnected before the whole body arrived.")  # nobody reads it
    return message


def _model_error(route: EndpointRoute, status: int, said: str) -> InvokeError:
    kind = "client" if 400 <= status < 500 else "server"
    return InvokeError(
        "ModelError",
        f'Received {kind} error ({status}) from primary with message "{said}". {_see(route)}',
        status=424,
        original_status=status,
        original_message=said,
        log_group_arn=route.log_group_arn,
    )


def _no_answer(route: EndpointRoute, said: str, reason: str) -> InvokeError:
    return InvokeError(
        "ModelError",
        f"Received server error (0) from primary {said}. {_see(route)}",
        status=424,
        original_status=0,
        original_message=reason,
        log_group_arn=route.log_group_arn,
    )


def _see(route: EndpointRoute) -> str:
    return (
        f"See https://{route.region}.console.aws.amazon.com/cloudwatch/home?region={route.region}#logEventViewer:"
        f"group=/aws/sagemaker/Endpoints/{route.name} in account {route.account_id} for more information."
    )


async def _send_reply(send: Any, reply: Reply, variant: str) -> None:
    headers = [
        (b"content-type", reply.headers.get(b"content-type", b"application/octet-stream")),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-amzn-invoked-production-variant", variant.encode("latin1")),
        (b"x-amzn-requestid", str(uuid.uuid4()).encode()),
    ]
    if CUSTOM_ATTRIBUTES in reply.headers:
        headers.append((CUSTOM_ATTRIBUTES, reply.headers[CUSTOM_ATTRIBUTES]))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _send_error(send: Any, error: InvokeError) -> None:
    body = error.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-amzn-errortype", error.code.encode("latin1")),
        (b"x-amzn-requestid", str(uuid.uuid4()).encode()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
