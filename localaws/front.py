"""The HTTP server's application: the services' own fast routes come first, and moto answers the rest through WSGI."""

import io
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from werkzeug.exceptions import NotFound

from localaws.core import Core
from localaws.credentials import Credentials
from localaws.error_replies import Reply, error_reply
from localaws.errors import AwsError
from localaws.object_contents import Staged, Store
from localaws.s3.incoming import receive as receive_body

WSGI_THREADS = 64
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Service:
    """A service that is served: its name for people, and botocore's."""

    name: str
    model: str


SERVICES = {  # by signing name
    "application-autoscaling": Service("Application Auto Scaling", "application-autoscaling"),
    "ec2": Service("EC2", "ec2"),
    "iam": Service("IAM", "iam"),
    "lambda": Service("Lambda", "lambda"),
    "logs": Service("CloudWatch Logs", "logs"),
    "monitoring": Service("CloudWatch", "cloudwatch"),
    "s3": Service("S3", "s3"),
    "sagemaker": Service("SageMaker", "sagemaker"),
    "ssm": Service("SSM", "ssm"),
    "sts": Service("STS", "sts"),
    "tagging": Service("Resource Groups Tagging", "resourcegroupstaggingapi"),
}
_CREDENTIAL = re.compile(r"Credential=[^/,]*(?:/|%2F)\d*(?:/|%2F)[^/%,]*(?:/|%2F)([^/%,]+)(?:/|%2F)aws4_request")
_ACCESS_KEY = re.compile(rb"(?:Credential=|AWSAccessKeyId=|^AWS )([^/%:,&]+)")
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|([a-z0-9.-]+\.)?localhost")
_S3_DATA_PARAMETERS = {"partNumber", "uploadId", "x-id", "AWSAccessKeyId", "Signature", "Expires"}


def build_app(core: Core, routes: list[BaseRoute]) -> ASGIApp:
    """Return the ASGI application: health, clock, the services' own `routes`, then moto for the supported services."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    from localaws.s3.backend import StoredKey

    wsgi: Any = MotoApplication(DomainDispatcherApplication(create_backend_app), core, StoredKey.store)
    moto = MotoMount(WSGIMiddleware(wsgi, workers=WSGI_THREADS))

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "home": core.settings.owner, "generation": core.generation})

    async def clock(_: Request) -> Response:
        return JSONResponse({"scale": core.clock.scale, "origin": core.clock.origin, "now": core.clock.now()})

    own = [Route("/_localaws/health", health), Route("/_localaws/clock", clock)]
    starlette = Starlette(routes=[*own, *routes, Mount("/", app=moto)])
    return Gate(starlette, core.credentials)


class Gate:
    """Refuses what must not reach any route.

    - requests addressed to another host, which a web page could send through a name that it controls;
    - requests of a process that was started ahead: the instance that it will be does not exist on AWS yet.
    """

    def __init__(self, app: ASGIApp, credentials: Credentials) -> None:
        self._app = app
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_loopback_host(scope):
            await Response("localaws answers requests to loopback hosts only\n", 403)(scope, receive, send)
        elif self._credentials.are_held and self._credentials.refuses(access_key_of(scope)):
            await _not_yet(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def access_key_of(scope: Scope) -> str:
    """Return the access key that a request is signed with, in header or query; empty for one without a signature."""
    signed = next((value for name, value in scope.get("headers", ()) if name == b"authorization"), None)
    found = _ACCESS_KEY.search(scope.get("query_string", b"") if signed is None else signed)
    return found.group(1).decode("latin1") if found else ""


def is_loopback_host(scope: Scope) -> bool:
    """Return whether the Host header names this machine: 127.x.y.z, localhost or a name under it (buckets)."""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.rpartition(b":")[0] or value
            return bool(_LOOPBACK.fullmatch(host.decode("latin1").lower()))
    return False


class MotoMount:
    """Lets requests for the supported services through to moto and answers the others with an error that names them."""

    def __init__(self, moto: Any) -> None:
        self._moto = moto

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = signed_service(scope)
        if service not in SERVICES or scope["path"].startswith("/moto-api"):
            await _unsupported(scope, service)(scope, receive, send)
        else:
            await self._moto(scope, receive, send)


def signed_service(scope: Scope) -> str:
    """Return the service that a request is signed for (SigV4, in header or query); S3 for one without a signature."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            found = _CREDENTIAL.search(value.decode("latin1"))
            return found.group(1) if found else "s3"
    found = _CREDENTIAL.search(scope["query_string"].decode("latin1"))
    return found.group(1) if found else "s3"


class MotoApplication:
    """moto's WSGI application, given what it needs to see a request as it was sent.

    - the path as it was on the wire: S3 keys may hold `%2F`;
    - metadata names with underscores, which WSGI would fold into dashes;
    - object bodies already received into files;
    - buffered log lines delivered before they are asked for;
    - what a service needs before its first request done.
    """

    def __init__(self, moto: Any, core: Core, store: Store) -> None:
        self._moto = moto
        self._core = core
        self._store = store

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        service = signed_service(environ["asgi.scope"])
        begun: list[Any] = []
        try:
            body = self._answer(environ, service, lambda *begin: begun.extend(begin))
        except AwsError as error:
            return _start(_reply_to(environ, service, error), start_response)
        except NotImplementedError:
            return _start(_reply_to(environ, service, _not_emulated(environ, service)), start_response)
        except Exception as error:  # noqa: BLE001 the client gets AWS's answer to a fault, the log its trace
            traceback.print_exc()
            fault = AwsError("InternalFailure", f"localaws failed: {type(error).__name__}", status=500)
            return _start(_reply_to(environ, service, fault), start_response)
        if begun[0].startswith("404") and service != "s3" and ("Content-Type", "text/html; charset=utf-8") in begun[1]:
            return _start(_reply_to(environ, service, _not_emulated(environ, service)), start_response)
        start_response(*begun)
        return body

    def _answer(self, environ: dict[str, Any], service: str, start_response: Any) -> Iterable[bytes]:
        _restore(environ, environ["asgi.scope"])
        self._core.prepare(service)
        if service == "logs":
            self._core.logs.flush()
        elif service == "s3" and is_object_data(environ):
            return self._with_body(environ, start_response)
        elif service != "s3" and environ.get("CONTENT_TYPE", "").startswith(FORM):
            form = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(form)  # to be read again when the operation has to be named
        return self._moto(environ, start_response)  # type: ignore[no-any-return]

    def _with_body(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        from localaws.s3.responses import BODY

        received = receive_body(environ["wsgi.input"], _headers(environ["asgi.scope"]), self._store)
        for name, value in received.checksums.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        environ["HTTP_X_AMZ_CONTENT_SHA256"] = "UNSIGNED-PAYLOAD"
        environ["CONTENT_LENGTH"] = "0"
        environ.pop("CONTENT_ENCODING", None)
        environ[BODY] = received.body
        try:
            return self._moto(environ, start_response)  # type: ignore[no-any-return]
        finally:
            if isinstance(received.body, Staged):
                received.body.discard()


def is_object_data(environ: dict[str, Any]) -> bool:
    """Return whether a request to S3 carries an object's or a part's content."""
    if environ["REQUEST_METHOD"] != "PUT" or "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return False
    names = {pair.partition("=")[0] for pair in environ["QUERY_STRING"].split("&") if pair}
    if any(name not in _S3_DATA_PARAMETERS and not name.startswith("X-Amz-") for name in names):
        return False
    path: str = environ["PATH_INFO"].lstrip("/")
    bucket, _, key = path.partition("/")
    return bucket != "" and (key != "" or _is_virtual_host(environ.get("HTTP_HOST", "")))


def _is_virtual_host(host: str) -> bool:
    from moto.s3.responses import S3Response

    asked = SimpleNamespace(headers={"host": host}, url=f"http://{host}/")
    return bool(S3Response.subdomain_based_buckets(asked))


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


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}


def _start(reply: Reply, start_response: Any) -> list[bytes]:
    start_response(f"{reply.status} Error", [*reply.headers, ("content-length", str(len(reply.body)))])
    return [reply.body]


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


def _not_yet(scope: Scope) -> Response:
    message = "the credentials belong to an instance that does not exist yet"
    return _response(scope, signed_service(scope), AwsError("AccessDeniedException", message, status=403))


def _response(scope: Scope, service: str, error: AwsError) -> Response:
    is_form = any(name == b"content-type" and value.startswith(FORM.encode()) for name, value in scope["headers"])
    reply = error_reply(service, error, is_form=is_form)
    return Response(reply.body, reply.status, dict(reply.headers))
