"""The HTTP server's application: the services' own fast routes come first, and moto answers the rest through WSGI."""

import errno
import io
import shutil
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from werkzeug.exceptions import NotFound

from localaws.auth.gate import PageGate
from localaws.auth.keys import Keys
from localaws.auth.root_key import RootKey
from localaws.auth.routes import PREFIX, OpenRoute
from localaws.auth.signature_gate import BODY as READ_BODY
from localaws.auth.signature_gate import SignatureGate
from localaws.auth.verifier import ANYONE, Verifier, service_of
from localaws.console.welcome import Welcome
from localaws.core import Core
from localaws.error_replies import Reply, error_reply, is_own_xml, legible
from localaws.errors import AwsError
from localaws.hosts import HostGate, HostRoute, SignedCallers
from localaws.inputs.faults import refusal_of
from localaws.inputs.gate import InputGate
from localaws.inputs.refusals import check_constraints, check_types
from localaws.inputs.types import without_nulls
from localaws.moto_apps import MotoApps, forget_instances, take_signed_regions
from localaws.object_contents import Staged, Store
from localaws.partition import partition
from localaws.permissions.asking import Place
from localaws.permissions.gate import DECIDE, PermissionGate
from localaws.permissions.operations import UnknownOperation, asked_in
from localaws.permissions.throttle import Throttle
from localaws.pricing import service as pricing
from localaws.request_feed import Feeding
from localaws.request_ids import RequestIds
from localaws.s3.hosts import bucket_of
from localaws.s3.incoming import Received
from localaws.s3.incoming import receive as receive_body
from localaws.s3.public import may_anyone_read

WSGI_THREADS = 64
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
CORS = "access-control-"  # these headers would let a page of another origin read the answer; there is none to let
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Service:
    """A service that is served: its name for people, and botocore's."""

    name: str
    model: str


SERVICES = {  # by signing name
    "application-autoscaling": Service("Application Auto Scaling", "application-autoscaling"),
    "budgets": Service("Budgets", "budgets"),
    "ec2": Service("EC2", "ec2"),
    "iam": Service("IAM", "iam"),
    "kms": Service("KMS", "kms"),
    "lambda": Service("Lambda", "lambda"),
    "logs": Service("CloudWatch Logs", "logs"),
    "monitoring": Service("CloudWatch", "cloudwatch"),
    "pricing": Service("Price List", "pricing"),
    "s3": Service("S3", "s3"),
    "sagemaker": Service("SageMaker", "sagemaker"),
    "servicequotas": Service("Service Quotas", "service-quotas"),
    "ssm": Service("SSM", "ssm"),
    "sts": Service("STS", "sts"),
    "tagging": Service("Resource Groups Tagging", "resourcegroupstaggingapi"),
}
_S3_DATA_PARAMETERS = {
    "partNumber",
    "uploadId",
    "x-id",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
    "content-type",
    "content-md5",
}


def build_app(core: Core, routes: list[BaseRoute], root_key: RootKey) -> ASGIApp:
    """Return the ASGI application: health, clock, the services' own `routes`, then moto for the supported services.

    The gates before it: for what web pages send, for what is not signed with a key of this server, for values of wrong
    types, for what IAM does not allow, and for values that break constraints. Host names of their own (function URLs)
    come before these.
    """
    from moto.moto_server.werkzeug_app import create_backend_app

    from localaws.s3.backend import StoredKey
    from localaws.s3.frequent import FrequentRequests

    take_signed_regions()
    forget_instances()
    wsgi: Any = MotoApplication(MotoApps(create_backend_app), core, StoredKey.store)
    bridge = WSGIMiddleware(wsgi, workers=WSGI_THREADS)
    core.on_shutdown(lambda: bridge.executor.shutdown(wait=False))
    moto = MotoMount(bridge)
    frequent = FrequentRequests(moto, StoredKey.store, core.settings.account_id, partition())

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "home": core.settings.owner, "generation": core.generation})

    async def clock(_: Request) -> Response:
        return JSONResponse({"scale": core.clock.scale, "origin": core.clock.origin, "now": core.clock.now()})

    own = [
        OpenRoute("/_localaws/health", health),
        OpenRoute("/_localaws/clock", clock),
        core.credentials.grants.route(),
    ]
    nothing = Mount(PREFIX.rstrip("/"), app=JSONResponse({"message": "localaws has no such path or method"}, 404))
    starlette = Starlette(routes=[*own, *routes, nothing, Mount("/", app=moto)])
    throttle = Throttle(core.clock) if core.strictness.is_throttled else None
    keys = Keys(root_key, core.settings.account_id)
    services = ByService({"s3": frequent}, starlette)
    allowed = PermissionGate(InputGate(services, check_constraints), core.authority, keys, throttle)
    verifier = Verifier(keys.find, bucket_of=bucket_of)
    signed = SignatureGate(
        RequestIds(InputGate(Prepared(allowed, core), check_types)),
        verifier,
        token=root_key.token,
        routes=[*own, *routes],
        is_held=core.credentials.refuses,
    )
    hosts = [each for each in routes if isinstance(each, HostRoute)]
    for each in hosts:
        each.callers = SignedCallers(verifier, allowed.caller_of, core.credentials.refuses)
    return HostGate(PageGate(Welcome(Feeding(signed, core.feed, PREFIX)), [*own, *routes]), hosts)


class Prepared:
    """Has a service prepared before its first request is decided on: a look at its tags would make moto's own of it."""

    def __init__(self, app: ASGIApp, core: Core) -> None:
        self._app, self._core = app, core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        signed = scope.get("localaws.signed")
        if signed is not None and not self._core.is_prepared(signed.service):
            await run_in_threadpool(self._core.prepare, signed.service)
        await self._app(scope, receive, send)


class ByService:
    """Has a service's own application answer what is signed for it, and `others` the rest."""

    def __init__(self, own: Mapping[str, ASGIApp], others: ASGIApp) -> None:
        self._own, self._others = own, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        signed = scope.get("localaws.signed")
        service = signed.service if signed is not None else ""
        await self._own.get(service, self._others)(scope, receive, send)


class MotoMount:
    """Lets requests for the supported services through to moto and answers the others with an error that names them.

    moto has no Price List Service: localaws's own answers.
    """

    def __init__(self, moto: Any) -> None:
        self._moto = moto

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = service_of(scope)
        if service not in SERVICES or scope["path"].startswith("/moto-api"):
            await _unsupported(scope, service)(scope, receive, send)
        elif service == pricing.NAME:
            await _priced(scope)(scope, receive, send)
        else:
            await self._moto(scope, receive, send)


class MotoApplication:
    """moto's WSGI application, given what it needs to see a request as it was sent.

    - the path as it was on the wire: S3 keys may hold `%2F`;
    - metadata names with underscores, which WSGI would fold into dashes;
    - object bodies already received into files;
    - JSON without the members that are null, which moto takes for values;
    - buffered log lines delivered before they are asked for;
    - what a service needs before each request done.
    """

    def __init__(self, moto: Any, core: Core, store: Store) -> None:
        self._moto = moto
        self._core = core
        self._store = store

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        service = service_of(environ["asgi.scope"])
        begun: list[Any] = []
        try:
            body = self._answer(environ, service, lambda *begin: begun.extend(begin))
        except Exception as error:  # noqa: BLE001 the client gets AWS's answer to a fault, the log its trace
            return _start(_reply_to(environ, service, self._told(error, environ, service)), start_response)
        if begun[0].startswith("404") and service != "s3" and ("Content-Type", "text/html; charset=utf-8") in begun[1]:
            return _start(_reply_to(environ, service, _not_emulated(environ, service)), start_response)
        begun[1] = [each for each in begun[1] if not each[0].lower().startswith(CORS)]
        if is_own_xml(service, *begun[:2]):
            body = [legible(b"".join(body))]
            begun[1] = [each for each in begun[1] if each[0].lower() != "content-length"]
            begun[1].append(("Content-Length", str(len(body[0]))))
        start_response(*begun)
        return body

    def _told(self, error: Exception, environ: dict[str, Any], service: str) -> AwsError:
        """Return what a client is told of an exception; what no request is to blame for is printed."""
        if isinstance(error, AwsError):
            return error
        if isinstance(error, NotImplementedError):
            return _not_emulated(environ, service)
        if isinstance(error, RecursionError):
            return AwsError("SerializationException", "The request, or what it asks for, is nested too deeply.")
        if isinstance(error, OSError) and (refusal := _of_the_disk(error, self._store.folder)):
            print(f"localaws: {refusal.message}", file=sys.stderr)
            return refusal
        if refusal := refusal_of(error, asked_in(environ["asgi.scope"], service)):
            return refusal
        traceback.print_exception(error)
        return AwsError("InternalFailure", f"localaws failed: {type(error).__name__}", status=500)

    def _answer(self, environ: dict[str, Any], service: str, start_response: Any) -> Iterable[bytes]:
        _restore(environ, environ["asgi.scope"])
        self._core.before_request(service)
        if service == "s3":
            return self._s3(environ, start_response)
        _give(environ, without_nulls(environ["asgi.scope"][READ_BODY]))
        return self._moto(environ, start_response)  # type: ignore[no-any-return]

    def _s3(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer what is signed and what anyone may read, its body checked against the digests that are signed."""
        scope, place = environ["asgi.scope"], Place(self._core.settings.account_id, self._core.settings.region)
        if scope["localaws.signed"] is ANYONE and not may_anyone_read(asked_in(scope, "s3"), place):
            raise AwsError("AccessDenied", "Access Denied", status=403)
        from localaws.s3.responses import BODY

        received = self._received(environ)
        try:
            if is_object_data(environ):
                environ[BODY], environ["CONTENT_LENGTH"] = received.body, "0"
            else:
                body = received.body if isinstance(received.body, bytes) else b"".join(received.body.whole())
                _give(environ, body)
            if DECIDE in scope:
                scope[DECIDE](environ["wsgi.input"].getvalue())
            return self._moto(environ, start_response)  # type: ignore[no-any-return]
        finally:
            if isinstance(received.body, Staged):
                received.body.discard()

    def _received(self, environ: dict[str, Any]) -> Received:
        scope = environ["asgi.scope"]
        headers = _headers(scope)
        if not is_object_data(environ) and "transfer-encoding" not in headers:
            headers.setdefault("content-length", "0")
        received = receive_body(environ["wsgi.input"], headers, self._store, scope["localaws.signed"].chunks)
        for name, value in received.checksums.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        environ["HTTP_X_AMZ_CONTENT_SHA256"] = "UNSIGNED-PAYLOAD"
        environ.pop("CONTENT_ENCODING", None)
        return received


def is_object_data(environ: dict[str, Any]) -> bool:
    """Return whether a request to S3 carries an object's or a part's content."""
    if environ["REQUEST_METHOD"] != "PUT" or "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return False
    names = {pair.partition("=")[0] for pair in environ["QUERY_STRING"].split("&") if pair}
    if any(name not in _S3_DATA_PARAMETERS and not name.lower().startswith("x-amz-") for name in names):
        return False
    path: str = environ["PATH_INFO"].lstrip("/")
    bucket, _, key = path.partition("/")
    return bucket != "" and (key != "" or bucket_of(environ.get("HTTP_HOST", "")) != "")


def _restore(environ: dict[str, Any], scope: Scope) -> None:
    from moto.core.request import (
        PRESERVED_HEADER_NAMES_ENVIRON_KEY,
        environ_key_for_header,
        should_preserve_original_header_name,
    )

    query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
    environ["RAW_URI"] = scope["raw_path"].decode("latin1") + query
    names = [name.decode("latin1") for name, _ in scope["headers"]]
    environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = {
        environ_key_for_header(name): name for name in names if should_preserve_original_header_name(name)
    }


def _give(environ: dict[str, Any], body: bytes) -> None:
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}


def _start(reply: Reply, start_response: Any) -> list[bytes]:
    start_response(f"{reply.status} Error", [*reply.headers, ("content-length", str(len(reply.body)))])
    return [reply.body]


def _of_the_disk(error: OSError, folder: Path) -> AwsError | None:
    """Return what a client is told when localaws cannot write; AWS has no such answer, and 507 is not retried."""
    if error.errno not in _DISK:
        return None
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    text = f"localaws cannot write {error.filename or folder}: {error.strerror}; {free / 1e6:,.1f} MB are free"
    return AwsError("InsufficientStorage", text, status=507)


def _reply_to(environ: dict[str, Any], service: str, error: AwsError) -> Reply:
    return error_reply(service, error, is_form=environ.get("CONTENT_TYPE", "").startswith(FORM))


def _not_emulated(environ: dict[str, Any], service: str) -> AwsError:
    name = SERVICES[service].name
    return AwsError(
        "UnsupportedOperation", f"localaws does not emulate {name} {_operation(environ, service)}.", status=501
    )


def _operation(environ: dict[str, Any], service: str) -> str:
    from moto.core.request import Request as MotoRequest
    from moto.core.routing import get_service_router

    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    body = environ["wsgi.input"].getvalue() if isinstance(environ["wsgi.input"], io.BytesIO) else b""
    if action := parse_qs(body.decode("latin1")).get("Action"):
        return action[0]
    try:
        operation, _ = get_service_router(SERVICES[service].model).match(MotoRequest(environ))
    except (NotFound, NotImplementedError):
        return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
    return str(operation.name)


def _unsupported(scope: Scope, service: str) -> Response:
    supported = ", ".join(sorted(SERVICES))
    message = f"localaws does not emulate the service {service!r}, only: {supported}."
    return _response(scope, service, AwsError("UnsupportedOperation", message, status=501))


def _priced(scope: Scope) -> Response:
    try:
        return pricing.answer(asked_in(scope, pricing.NAME).operation)
    except UnknownOperation as error:
        return _response(scope, pricing.NAME, AwsError("UnknownOperationException", str(error)))
    except AwsError as error:
        return _response(scope, pricing.NAME, error)


def _response(scope: Scope, service: str, error: AwsError) -> Response:
    is_form = any(name == b"content-type" and value.startswith(FORM.encode()) for name, value in scope["headers"])
    reply = error_reply(service, error, is_form=is_form)
    return Response(reply.body, reply.status, dict(reply.headers))
